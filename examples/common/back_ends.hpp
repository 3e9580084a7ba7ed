// Servers that share the work: which of them are well, and which has the least to do.
#pragma once
#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include <boost/beast/core/flat_buffer.hpp>
#include <coir/coir.hpp>
#include <coir/interop/asio.hpp>

namespace examples {

struct back_end_times {
  std::chrono::milliseconds connect{2'000};
  std::chrono::milliseconds answer{
      30'000};                             // to the first byte of an answer, and from part to part
  std::chrono::milliseconds check{2'000};  // from one look at its health to the next
};

// A connection to a back end, which may have served before.
struct upstream {
  explicit upstream(coir::tcp_stream s) : stream(std::move(s)) {}
  coir::asio_stream<coir::tcp_stream> stream;
  boost::beast::flat_buffer in{128 * 1024};
  bool used = false;
  coir::clock::time_point since = coir::clock::now();  // it was used last

  void allow(std::chrono::milliseconds more) {  // for reading and writing, from now on
    const auto end = coir::clock::now() + more;
    stream.next_layer().set_read_deadline(end);
    stream.next_layer().set_write_deadline(end);
  }
};

class back_end {
 public:
  explicit back_end(const coir::endpoint& where) : where_(where), name_(to_string(where)) {}

  const std::string& name() const { return name_; }
  bool well() const { return well_; }
  unsigned busy() const { return busy_; }
  class work {  // a request that it works on
   public:
    explicit work(back_end& b) : of_(b) { ++of_.busy_; }
    ~work() { --of_.busy_; }
    work(const work&) = delete;
    work& operator=(const work&) = delete;

   private:
    back_end& of_;
  };

  // A connection, fresh or one that has answered and was kept. Throws std::system_error.
  std::unique_ptr<upstream> connect(bool fresh, std::chrono::milliseconds limit);
  void keep(std::unique_ptr<upstream>);

  // What was found out about its health; says so on stderr if that is news.
  void set_well(bool now, const std::string& why);
  // Asks for `path` now and then: an answer below 500 is a sign of health. Until cancelled.
  void watch(const std::string& path, const back_end_times&);

 private:
  void check(const std::string& path, const back_end_times&);
  void drop_idle();

  const coir::endpoint where_;
  const std::string name_;
  std::atomic<bool> well_{true};
  std::atomic<unsigned> busy_{0};
  coir::mutex lock_;
  std::vector<std::unique_ptr<upstream>> idle_;  // under lock_; the last one is the warmest
};

class back_ends {
 public:
  explicit back_ends(const std::vector<coir::endpoint>&);

  // The one that is well, not among those tried, and has the least to do; null: there is none.
  back_end* choose(const std::vector<back_end*>& tried);
  std::vector<std::unique_ptr<back_end>>& all() { return all_; }

 private:
  std::vector<std::unique_ptr<back_end>> all_;
  std::atomic<std::size_t> next_{0};  // so that equals take turns
};

}  // namespace examples
