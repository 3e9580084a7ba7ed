// Several functions at once: gather, settle and race. Each runs its functions in fibers of their
// own, returns when all of them have ended, and takes either the functions one by one or one range
// of them. The functions are called where they are, not moved (but for those that a range makes as
// it is walked), and may borrow from the caller.
// Fibers only: else std::system_error(operation_not_permitted). If the caller is cancelled, they
// are cancelled and waited for.
#pragma once
#include <exception>
#include <functional>
#include <ranges>
#include <stdexcept>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <coir/sched/cancelled.hpp>
#include <coir/sched/nursery.hpp>
#include <coir/sched/result.hpp>

namespace coir {

// Nobody won a race.
class all_failed : public std::runtime_error {
 public:
  explicit all_failed(std::vector<std::exception_ptr> errors)
      : std::runtime_error("coir: all " + std::to_string(errors.size()) + " of a race failed"),
        errors_(std::move(errors)) {}
  // In the order of the functions.
  const std::vector<std::exception_ptr>& errors() const noexcept { return errors_; }

 private:
  std::vector<std::exception_ptr> errors_;
};

namespace sched {

template <class R>
concept range_of_functions =
    std::ranges::forward_range<R> && std::invocable<std::ranges::range_reference_t<R>>;

// Fibers, one a function, in the order of the functions.
class team {
 public:
  team(const char* call, nursery::rule r) : group_(core_of_this_fiber(call), r) {}
  ~team() {
    group_.cancel();
    group_.join(false);
    for (fiber_record* f : fibers_) release(*f);
  }
  team(const team&) = delete;
  team& operator=(const team&) = delete;

  void reserve(std::size_t n) { fibers_.reserve(n); }
  // f lives longer. It is not called if what was started before has ended the team already.
  template <class F>
  void start(F&& f) {
    start_own([&f]() -> decltype(auto) { return std::invoke(std::forward<F>(f)); });
  }
  template <class F>
  void start_own(F f) {
    if (fibers_.size() == fibers_.capacity()) reserve(2 * fibers_.size() + 8);  // or throws, now
    try {
      fibers_.push_back(&group_.start(nullptr, std::move(f)));
    } catch (const cancelled& c) {
      if (c.fiber() != fiber_id{}) throw;  // the caller's own
    }
  }

  // Throws the first error, if the rule says so, before the caller's cancellation.
  void join(bool throw_first_error) {
    const bool struck = group_.join(true);
    if (throw_first_error)
      if (const std::exception_ptr e = group_.first_error()) {
        group_.report_errors(1);
        std::rethrow_exception(e);
      }
    if (struck && group_.winner() == nullptr) group_.throw_pending();
  }
  fiber_record& operator[](std::size_t i) const noexcept { return *fibers_[i]; }
  std::size_t size() const noexcept { return fibers_.size(); }
  std::size_t winner() const noexcept {  // size(): nobody
    std::size_t i = 0;
    while (i < fibers_.size() && fibers_[i] != group_.winner()) ++i;
    return i;
  }
  std::vector<std::exception_ptr> errors() const {
    std::vector<std::exception_ptr> all;
    for (fiber_record* f : fibers_) all.push_back(error_of(*f));
    return all;
  }

 private:
  open_here open_;
  nursery group_;
  std::vector<fiber_record*> fibers_;
};

template <class F>
using result_of_call = std::invoke_result_t<F>;

template <class... F, std::size_t... I>
auto values_of(team& t, std::index_sequence<I...>) {
  return std::tuple<as_element<result_of_call<F>>...>(element_of<result_of_call<F>>(t[I])...);
}
template <class... F, std::size_t... I>
auto results_of(team& t, std::index_sequence<I...>) {
  return std::tuple<result<result_of_call<F>>...>(result_of<result_of_call<F>>(t[I])...);
}

template <class R>
void start_all(team& t, R&& functions) {
  if constexpr (std::ranges::sized_range<R>) t.reserve(std::ranges::size(functions));
  for (auto&& f : functions)
    if constexpr (std::is_reference_v<std::ranges::range_reference_t<R>>)
      t.start(f);
    else  // the range makes them as it is walked: this one goes with its turn
      t.start_own(std::move(f));
}

}  // namespace sched

// asyncio.gather: the values. The first error cancels the others and is thrown; later ones go to
// options::on_unhandled.
template <class... F>
requires(std::invocable<F>&&...) auto gather(F&&... functions)
    -> std::tuple<sched::as_element<sched::result_of_call<F>>...> {
  sched::team t("gather", sched::nursery::rule::first_error_ends);
  t.reserve(sizeof...(F));
  (t.start(std::forward<F>(functions)), ...);
  t.join(true);
  return sched::values_of<F...>(t, std::index_sequence_for<F...>{});
}

template <sched::range_of_functions R>
auto gather(R&& functions) {
  using value = sched::result_of_call<std::ranges::range_reference_t<R>>;
  sched::team t("gather", sched::nursery::rule::first_error_ends);
  sched::start_all(t, functions);
  t.join(true);
  std::vector<sched::as_element<value>> values;
  values.reserve(t.size());
  for (std::size_t i = 0; i < t.size(); ++i) values.push_back(sched::element_of<value>(t[i]));
  return values;
}

// The same, but errors are results: asyncio's return_exceptions.
template <class... F>
requires(std::invocable<F>&&...) auto settle(F&&... functions)
    -> std::tuple<result<sched::result_of_call<F>>...> {
  sched::team t("settle", sched::nursery::rule::all_end);
  t.reserve(sizeof...(F));
  (t.start(std::forward<F>(functions)), ...);
  t.join(false);
  return sched::results_of<F...>(t, std::index_sequence_for<F...>{});
}

template <sched::range_of_functions R>
auto settle(R&& functions) {
  using value = sched::result_of_call<std::ranges::range_reference_t<R>>;
  sched::team t("settle", sched::nursery::rule::all_end);
  sched::start_all(t, functions);
  t.join(false);
  std::vector<result<value>> results;
  results.reserve(t.size());
  for (std::size_t i = 0; i < t.size(); ++i) results.push_back(sched::result_of<value>(t[i]));
  return results;
}

// The value of the first to succeed; the others are cancelled and waited for, and what becomes of
// them is dropped. Throws all_failed if none succeeds, with none for no functions.
template <class... F>
requires(sizeof...(F) > 0 && (std::invocable<F> && ...)) auto race(F&&... functions)
    -> std::variant<sched::as_element<sched::result_of_call<F>>...> {
  using answer = std::variant<sched::as_element<sched::result_of_call<F>>...>;
  sched::team t("race", sched::nursery::rule::first_value_ends);
  t.reserve(sizeof...(F));
  (t.start(std::forward<F>(functions)), ...);
  t.join(false);
  const std::size_t first = t.winner();
  if (first == t.size()) throw all_failed(t.errors());
  return [&]<std::size_t... I>(std::index_sequence<I...>)->answer {
    using make = answer (*)(sched::fiber_record&);
    static constexpr make of[] = {[](sched::fiber_record& f) {
      return answer(std::in_place_index<I>, sched::element_of<sched::result_of_call<F>>(f));
    }...};
    return of[first](t[first]);
  }
  (std::index_sequence_for<F...>{});
}

template <sched::range_of_functions R>
decltype(auto) race(R&& functions) {
  using value = sched::result_of_call<std::ranges::range_reference_t<R>>;
  sched::team t("race", sched::nursery::rule::first_value_ends);
  sched::start_all(t, functions);
  t.join(false);
  const std::size_t first = t.winner();
  if (first == t.size()) throw all_failed(t.errors());
  return sched::get_of<value>(t[first]);
}

}  // namespace coir
