// A doubly linked list whose links lie in its members: no allocation, and a member leaves without
// knowing the list.
#pragma once
#include <cstddef>
#include <iterator>
#include <utility>

namespace coir::fiber {

// What a member derives from. Linked into one list at a time; not copied, because a copy would be
// in no list.
//
// Always true: `next` and `prev` are both null (in no list) or both set (in a list, or one that the
// owner abandoned).
struct intrusive_hook {
  intrusive_hook* next = nullptr;
  intrusive_hook* prev = nullptr;

  intrusive_hook() noexcept = default;
  intrusive_hook(const intrusive_hook&) noexcept {}
  intrusive_hook& operator=(const intrusive_hook&) noexcept { return *this; }

  bool linked() const noexcept { return next != nullptr; }

  // Leaves its list, whichever that is. It is in one.
  void unlink() noexcept {
    prev->next = next;
    next->prev = prev;
    next = prev = nullptr;
  }
};

// A list of T, which derives from Hook (a type derived from intrusive_hook, for a T that is in
// several lists). It owns nothing: members outlive their stay. One user at a time.
//
// Always true: the members form a ring with `ends_`, whose `next` is the first and whose `prev` is
// the last.
template <class T, class Hook = intrusive_hook>
class intrusive_list {
 public:
  constexpr intrusive_list() noexcept { reset(); }
  intrusive_list(intrusive_list&& other) noexcept {
    reset();
    append(other);
  }
  intrusive_list& operator=(intrusive_list&&) = delete;  // what would become of the members here?

  bool empty() const noexcept { return ends_.next == &ends_; }
  std::size_t count() const noexcept {  // walks
    std::size_t n = 0;
    for (const intrusive_hook* h = ends_.next; h != &ends_; h = h->next) ++n;
    return n;
  }

  T* front() noexcept { return empty() ? nullptr : member(ends_.next); }
  T* back() noexcept { return empty() ? nullptr : member(ends_.prev); }
  T* after(T& t) noexcept {  // null: t is the last
    intrusive_hook* h = hook(t).next;
    return h == &ends_ ? nullptr : member(h);
  }

  void push_back(T& t) noexcept { link_before(hook(t), ends_); }
  void push_front(T& t) noexcept { link_before(hook(t), *ends_.next); }
  void insert_before(T& at, T& t) noexcept { link_before(hook(t), hook(at)); }

  T* pop_front() noexcept {  // null: empty
    T* t = front();
    if (t != nullptr) hook(*t).unlink();
    return t;
  }
  T* pop_back() noexcept {
    T* t = back();
    if (t != nullptr) hook(*t).unlink();
    return t;
  }
  static void erase(T& t) noexcept { hook(t).unlink(); }

  // All of `other`, in their order, behind what is here. Constant time.
  void append(intrusive_list& other) noexcept {
    if (other.empty()) return;
    other.ends_.next->prev = ends_.prev;
    other.ends_.prev->next = &ends_;
    ends_.prev->next = other.ends_.next;
    ends_.prev = other.ends_.prev;
    other.reset();
  }
  // The same, before what is here.
  void prepend(intrusive_list& other) noexcept {
    other.append(*this);
    append(other);
  }

  class iterator {
   public:
    using iterator_category = std::bidirectional_iterator_tag;
    using value_type = T;
    using difference_type = std::ptrdiff_t;
    using pointer = T*;
    using reference = T&;

    iterator() noexcept = default;
    explicit iterator(intrusive_hook* at) noexcept : at_(at) {}
    T& operator*() const noexcept { return *member(at_); }
    T* operator->() const noexcept { return member(at_); }
    iterator& operator++() noexcept { return at_ = at_->next, *this; }
    iterator operator++(int) noexcept { return iterator(std::exchange(at_, at_->next)); }
    iterator& operator--() noexcept { return at_ = at_->prev, *this; }
    iterator operator--(int) noexcept { return iterator(std::exchange(at_, at_->prev)); }
    bool operator==(const iterator&) const noexcept = default;

   private:
    intrusive_hook* at_ = nullptr;
  };
  iterator begin() noexcept { return iterator(ends_.next); }
  iterator end() noexcept { return iterator(&ends_); }

 private:
  static T* member(intrusive_hook* h) noexcept { return static_cast<T*>(static_cast<Hook*>(h)); }
  static intrusive_hook& hook(T& t) noexcept { return static_cast<Hook&>(t); }
  static void link_before(intrusive_hook& h, intrusive_hook& at) noexcept {
    h.next = &at;
    h.prev = at.prev;
    at.prev->next = &h;
    at.prev = &h;
  }
  constexpr void reset() noexcept { ends_.next = ends_.prev = &ends_; }

  intrusive_hook ends_;
};

}  // namespace coir::fiber
