// A call that is made elsewhere: what it returns or throws is kept for who asked for it.
#pragma once
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>
#include <variant>

namespace coir::sched {

template <class F>
class kept_call {
 public:
  using returned = std::invoke_result_t<F>;

  explicit kept_call(std::remove_reference_t<F>& f) noexcept : function_(f) {}

  void make() noexcept {
    try {
      if constexpr (std::is_void_v<returned>)
        std::invoke(std::forward<F>(function_)), result_.emplace();
      else if constexpr (std::is_reference_v<returned>)
        result_.emplace(std::addressof(std::invoke(std::forward<F>(function_))));
      else
        result_.emplace(std::invoke(std::forward<F>(function_)));
    } catch (...) {
      error_ = std::current_exception();
    }
  }

  void fail(std::exception_ptr e) noexcept { error_ = std::move(e); }

  returned take() {
    if (error_ != nullptr) std::rethrow_exception(std::move(error_));
    if constexpr (std::is_reference_v<returned>)
      return static_cast<returned>(**result_);
    else if constexpr (!std::is_void_v<returned>)
      return std::move(*result_);
  }

 private:
  using kept =
      std::conditional_t<std::is_void_v<returned>, std::monostate,
                         std::conditional_t<std::is_reference_v<returned>,
                                            std::add_pointer_t<std::remove_reference_t<returned>>,
                                            std::remove_cv_t<returned>>>;
  std::remove_reference_t<F>& function_;
  std::optional<kept> result_;
  std::exception_ptr error_;
};

}  // namespace coir::sched
