// How many there were at once.
#pragma once
#include <atomic>

namespace examples {

// The most of something that there were at a time.
class gauge {
 public:
  class one {
   public:
    explicit one(gauge& g) : g_(g) {
      unsigned most = g_.most_;
      for (const unsigned now = ++g_.now_;
           most < now && !g_.most_.compare_exchange_weak(most, now);)
        ;
    }
    ~one() { --g_.now_; }
    one(const one&) = delete;
    one& operator=(const one&) = delete;

   private:
    gauge& g_;
  };
  unsigned most() const { return most_; }

 private:
  std::atomic<unsigned> now_{0}, most_{0};
};

}  // namespace examples
