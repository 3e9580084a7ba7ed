// The coroutine's switch: to who resumed it and back, on one thread. Slimmer than switch_context,
// because errno and the floating-point control words stay: they are the fiber's, whose code both
// sides are.
#pragma once
#include <cstddef>

#include <coir/fiber/context.hpp>

namespace coir::fiber {

// Prepares `to` to be entered at `entry` by a transfer. The `reserved` bytes at the stack's upper
// end are not the frames'.
void make_transfer_context(context& to, stack& on, std::size_t reserved,
                           entry_function entry) noexcept;

// Saves the running code as `from`, runs `to`, which was saved by a transfer too. Returns when
// somebody transfers to `from`, perhaps on another thread: whoever does so has given that thread
// `from`'s exception state. `on` is the calling thread's. `from.on` is the running stack's header;
// one that is no stack of a pool's is filled in here, as far as the sanitizers need it.
//
// It leaves by a jump and is made to be called last: README.md, "The coroutine's switch".
void transfer(carrier& on, context& from, context& to) noexcept;

// The same for a `from` that never runs again. Does not return.
void transfer_ended(carrier& on, context& from, context& to) noexcept;

}  // namespace coir::fiber
