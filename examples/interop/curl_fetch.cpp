// libcurl on fibers: a transfer parks its fiber instead of a thread. Fetches all pages at once.
//   curl_fetch http://127.0.0.1:8001/ https://example.com/
#include <chrono>
#include <cstdio>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include <curl/curl.h>
#include <coir/coir.hpp>

using namespace std::chrono_literals;

namespace {

// What libcurl wants to be told, which it says in callbacks: readiness of sockets, and the time.
struct wishes {
  std::map<curl_socket_t, int> sockets;  // CURL_POLL_IN, _OUT, _INOUT
  std::optional<coir::clock::time_point> time;

  static int on_socket(CURL*, curl_socket_t s, int what, void* self, void*) {
    auto& sockets = static_cast<wishes*>(self)->sockets;
    what == CURL_POLL_REMOVE ? void(sockets.erase(s)) : void(sockets[s] = what);
    return 0;
  }
  static int on_timer(CURLM*, long ms, void* self) {
    auto& time = static_cast<wishes*>(self)->time;
    time.reset();
    if (ms >= 0) time = coir::clock::now() + std::chrono::milliseconds(ms);
    return 0;
  }
};

struct readiness {
  curl_socket_t socket = CURL_SOCKET_TIMEOUT;
  int what = 0;  // CURL_CSELECT_IN, _OUT
};

// Waits for the first thing that libcurl wants to know of.
readiness first_of(const wishes& w) {
  std::vector<std::function<readiness()>> waits;
  for (const auto& [s, what] : w.sockets) {
    if ((what & CURL_POLL_IN) != 0)
      waits.push_back([s = s] { return coir::wait_readable(s), readiness{s, CURL_CSELECT_IN}; });
    if ((what & CURL_POLL_OUT) != 0)
      waits.push_back([s = s] { return coir::wait_writable(s), readiness{s, CURL_CSELECT_OUT}; });
  }
  const auto wait = [&] {
    if (waits.empty()) coir::this_fiber::sleep_for(1h);
    return waits.size() == 1 ? waits[0]() : coir::race(waits);
  };
  try {
    return coir::with_deadline(w.time.value_or(coir::clock::time_point::max()), wait);
  } catch (const coir::timed_out&) {
    return {};
  }
}

// As curl_easy_perform(), for fibers. The handle is used by one thread at a time, as libcurl
// demands, though not always by the same.
CURLcode perform(CURL* transfer) {
  wishes wanted;
  const std::unique_ptr<CURLM, CURLMcode (*)(CURLM*)> multi(curl_multi_init(), &curl_multi_cleanup);
  curl_multi_setopt(multi.get(), CURLMOPT_SOCKETFUNCTION, &wishes::on_socket);
  curl_multi_setopt(multi.get(), CURLMOPT_SOCKETDATA, &wanted);
  curl_multi_setopt(multi.get(), CURLMOPT_TIMERFUNCTION, &wishes::on_timer);
  curl_multi_setopt(multi.get(), CURLMOPT_TIMERDATA, &wanted);
  curl_multi_add_handle(multi.get(), transfer);
  // Also when the fiber is cancelled: the transfer leaves the handle before that goes.
  struct removal {
    ~removal() { curl_multi_remove_handle(multi, transfer); }
    CURLM* multi;
    CURL* transfer;
  } const removed_at_the_end{multi.get(), transfer};
  for (int running = 1; running != 0;) {
    const readiness ready = first_of(wanted);
    curl_multi_socket_action(multi.get(), ready.socket, ready.what, &running);
  }
  int left = 0;
  const CURLMsg* const ended = curl_multi_info_read(multi.get(), &left);
  return ended != nullptr ? ended->data.result : CURLE_RECV_ERROR;
}

std::size_t append(const char* data, std::size_t, std::size_t n, void* to) {
  static_cast<std::string*>(to)->append(data, n);
  return n;
}

std::string fetch(const std::string& url) {
  const std::unique_ptr<CURL, void (*)(CURL*)> transfer(curl_easy_init(), &curl_easy_cleanup);
  std::string page;
  curl_easy_setopt(transfer.get(), CURLOPT_URL, url.c_str());
  curl_easy_setopt(transfer.get(), CURLOPT_WRITEFUNCTION, &append);
  curl_easy_setopt(transfer.get(), CURLOPT_WRITEDATA, &page);
  curl_easy_setopt(transfer.get(), CURLOPT_FAILONERROR, 1L);
  curl_easy_setopt(transfer.get(), CURLOPT_NOSIGNAL,
                   1L);  // signals are the process's, not a fiber's
  const CURLcode result = perform(transfer.get());
  if (result != CURLE_OK) throw std::runtime_error(curl_easy_strerror(result));
  return page;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: %s URL...\n", argv[0]);
    return 2;
  }
  curl_global_init(CURL_GLOBAL_DEFAULT);
  int failed = 0;
  coir::run([&] {
    std::vector<coir::task<std::string>> pages;
    for (int i = 1; i < argc; ++i) pages.push_back(coir::spawn(fetch, std::string(argv[i])));
    for (int i = 1; i < argc; ++i) {
      try {
        std::printf("%s: %zu bytes\n", argv[i],
                    pages[static_cast<std::size_t>(i - 1)].get().size());
      } catch (const std::exception& e) {
        std::printf("%s: %s\n", argv[i], e.what());
        ++failed;
      }
    }
  });
  curl_global_cleanup();
  return failed == 0 ? 0 : 1;
}
