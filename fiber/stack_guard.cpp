#include "stack_guard.hpp"

#include "stack_slab.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <ctime>

namespace coir::fiber {

namespace {

constexpr int madv_guard_install = 102;  // not in the headers that we are built with
constexpr int pidfd_self =
    -10000;  // PIDFD_SELF_THREAD, Linux 6.15: this process without a descriptor, so that
             // a forked child cannot put guards into its parent's memory
constexpr long process_madvise_number = 440;
constexpr std::size_t most_vectors = 32;  // they lie on the stack of a fiber that parks

constexpr std::size_t canary_words = 16;
constexpr std::uint64_t canary_pattern = 0x6b6361747362ad1eU;

// Set once process_madvise has been refused: an older kernel, or a filter.
std::atomic<bool> one_by_one{false};

std::uint64_t* canary_of(const stack& s) noexcept {
  return reinterpret_cast<std::uint64_t*>(s.limit) - canary_words;
}

std::size_t install_batch(std::span<std::byte* const> places) noexcept {
  iovec vectors[most_vectors];
  const std::size_t count = std::min(places.size(), most_vectors);
  for (std::size_t i = 0; i < count; ++i) vectors[i] = {places[i], page_size()};
  const long done =
      ::syscall(process_madvise_number, pidfd_self, vectors, count, madv_guard_install, 0);
  if (done < 0) {
    if (errno != ENOMEM && errno != EAGAIN) one_by_one.store(true, std::memory_order_relaxed);
    return 0;
  }
  return static_cast<std::size_t>(done) / page_size();
}

}  // namespace

bool can_install_guards() noexcept {
  void* page =
      ::mmap(nullptr, page_size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return false;
  bool enforced = ::madvise(page, page_size(), madv_guard_install) == 0;
  int why = errno;
  if (enforced) {
    enforced = ::syscall(SYS_clock_gettime, CLOCK_MONOTONIC, page) ==
               -1;  // EFAULT: the kernel cannot write there
    why = ENOSYS;
  }
  ::munmap(page, page_size());
  if (!enforced) errno = why;
  return enforced;
}

std::size_t install_guards(std::span<std::byte* const> places) noexcept {
  std::size_t done = 0;
  while (done < places.size() && !one_by_one.load(std::memory_order_relaxed)) {
    const std::size_t more = install_batch(places.subspan(done));
    done += more;
    if (more == 0) break;
  }
  while (done < places.size() && ::madvise(places[done], page_size(), madv_guard_install) == 0)
    ++done;
  return done;
}

bool protect_guard(std::byte* place) noexcept {
  return ::mprotect(place, page_size(), PROT_NONE) == 0;
}

void write_canary(stack& s) noexcept { std::fill_n(canary_of(s), canary_words, canary_pattern); }

bool canary_intact(const stack& s) noexcept {
  return std::all_of(canary_of(s), canary_of(s) + canary_words,
                     [](std::uint64_t word) { return word == canary_pattern; });
}

std::size_t max_map_count() noexcept {
  constexpr std::size_t kernel_default = 65530;
  const int file = ::open("/proc/sys/vm/max_map_count", O_RDONLY | O_CLOEXEC);
  if (file < 0) return kernel_default;
  char text[32] = {};
  const auto length = ::read(file, text, sizeof text - 1);
  ::close(file);
  const unsigned long long count = length > 0 ? std::strtoull(text, nullptr, 10) : 0;
  return count > 0 ? static_cast<std::size_t>(count) : kernel_default;
}

}  // namespace coir::fiber
