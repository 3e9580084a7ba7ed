// The append-only file: every change, as the request that makes it, in the order in which they
// happened.
//
// The file is a row of blocks, each a line "#kv ..." that tells its size and checksums, and then
// requests; Redis takes such lines for comments, and so reads the file as its own. A block is
// written at once, so a crash leaves at most the last one in part, and with `always` everything
// before the last one is on the disk.
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <system_error>

#include <coir/coir.hpp>

namespace kv {

enum class fsync_policy : std::uint8_t {
  always,    // a reply goes out when what it tells is on the disk
  everysec,  // written soon, and on the disk after a second
  no,        // written soon, and on the disk when the kernel likes
};

// Positions count the bytes ever appended. append() may be called with native locks held; the
// others may park.
class append_log {
 public:
  append_log(std::string folder, fsync_policy);

  // Gives every request to `apply`, in order, and cuts off a last block that is there in part.
  // Throws std::runtime_error that names the place where the file is damaged otherwise, or who else
  // has it open.
  void replay(const std::function<void(std::string_view requests)>& apply);

  std::uint64_t append(std::string_view request);  // the position behind it

  // Waits, with `always`, until all before this position is on the disk; otherwise only if much has
  // not even been written. Who comes first writes what all have appended, and syncs once for all.
  std::error_code commit(std::uint64_t position);
  bool is_safe(std::uint64_t position) const noexcept {
    return policy_ != fsync_policy::always || durable_.load(std::memory_order_acquire) >= position;
  }

  // Writes on for ever, and syncs every second if it is to; once a write has failed, tries again.
  void run();
  void finish();  // everything to the disk

  bool failing() const noexcept { return failing_.load(std::memory_order_relaxed); }
  std::error_code failure() const;
  fsync_policy policy() const noexcept { return policy_; }
  const std::string& path() const noexcept { return path_; }
  std::uint64_t syncs() const noexcept { return syncs_.load(std::memory_order_relaxed); }

 private:
  std::error_code flush(std::uint64_t position, bool sync);
  std::error_code write_out();
  void open();
  std::uint64_t read_blocks(const std::function<void(std::string_view)>& apply);
  bool read_block(std::uint64_t at, std::uint64_t end, std::string& block);
  void cut(std::uint64_t at, std::uint64_t end);
  void note(std::error_code);

  const std::string folder_, path_;
  const fsync_policy policy_;
  coir::file file_;

  mutable std::mutex adding_;  // native, never over a wait: of these four
  std::string added_;          // room for a block's first line, then requests
  std::uint64_t end_ = 0;      // position behind the last request
  bool asked_ = false;         // run() has been told that there is something
  std::error_code failure_;    // of the last write; none when it went well

  coir::mutex writing_;       // over writes and syncs: of these five
  std::string block_;         // what is being written; what is left of it after an error
  std::uint64_t offset_ = 0;  // in the file, behind what was written
  std::atomic<std::uint64_t> written_{0};  // position behind block_; read by anybody
  bool unsynced_ = false;
  bool lost_ = false;  // a sync has failed: what the disk has is not known any more

  std::atomic<std::uint64_t> durable_{0};  // position; changed under writing_
  std::atomic<bool> failing_{false};
  std::atomic<std::uint64_t> syncs_{0};
  coir::notifier work_;
};

}  // namespace kv
