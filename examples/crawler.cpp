// Fetches a site page by page, following its links: so many at once, so many from one host, again
// after a pause where that may help. Without an address it crawls a site of its own.
//   crawler
//   crawler --at-once 50 --per-host 10 --start http://127.0.0.1:8080/
#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <map>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "common/command_line.hpp"
#include "common/demo_site.hpp"
#include "common/gauge.hpp"
#include "common/http_client.hpp"
#include "common/url.hpp"

using namespace std::chrono_literals;
using examples::url;
namespace http = boost::beast::http;

namespace {

struct settings {
  coir::endpoint listen = coir::endpoint::parse("127.0.0.1:0");
  unsigned pages = 200, at_once = 32, per_host = 8, tries = 4, most = 100'000;
  std::chrono::milliseconds limit{10'000}, pause{100};
};

struct page {
  url where;
  unsigned status = 0;
  std::size_t bytes = 0;
  std::vector<url> links;
};

class crawl {
 public:
  explicit crawl(const settings& given) : given_(given), all_(given.at_once) {}

  // Level by level: the links of the pages that have come are the next level's pages.
  void run(const url& start) {
    std::set<url> known{start};
    std::vector<url> level{start};
    while (!level.empty()) {
      std::vector<coir::task<page>> fetches;
      for (const url& u : level) fetches.push_back(coir::spawn([this, u] { return fetch(u); }));
      found_ += level.size();
      level.clear();
      for (auto& fetched : coir::as_completed(fetches)) {
        for (url& link : take(fetched))
          if (link.authority() == start.authority() && known.size() < given_.most &&
              known.insert(link).second)
            level.push_back(std::move(link));
      }
    }
  }

  // Now and then, until cancelled.
  void show_progress() const {
    for (;;) {
      coir::this_fiber::sleep_for(200ms);
      std::fprintf(stderr, "\r%zu of %zu pages, %zu failed ", fetched_.load(), found_.load(),
                   failed_.load());
    }
  }

  bool summary() const {
    std::fprintf(stderr, "\r%zu of %zu pages, %zu failed \n", fetched_.load(), found_.load(),
                 failed_.load());
    for (const auto& error : errors_) std::printf("failed: %s\n", error.c_str());
    for (const auto& [status, count] : statuses_)
      std::printf("status %u: %zu pages\n", status, count);
    const auto seconds = std::chrono::duration<double>(coir::clock::now() - began_).count();
    std::printf(
        "crawler: %zu pages, %zu bytes, %zu failed, %zu tried again, at most %u at once and %u "
        "from "
        "one host, in %.1f s\n",
        fetched_.load(), bytes_, failed_.load(), again_.load(), at_once_.most(), most_of_a_host(),
        seconds);
    return failed_ == 0;
  }

 private:
  struct host {
    explicit host(unsigned places) : free(places) {}
    coir::counting_semaphore<> free;
    examples::gauge used;
  };

  host& host_of(const url& u) {
    const std::lock_guard held(lock_);
    return hosts_.try_emplace(u.authority(), given_.per_host).first->second;
  }
  unsigned most_of_a_host() const {
    unsigned most = 0;
    for (const auto& [name, h] : hosts_) most = std::max(most, h.used.most());
    return most;
  }

  page fetch(const url& u) {
    for (unsigned tries = 1;; ++tries) {
      try {
        page p = fetch_once(u);
        if (p.status < 500 || tries == given_.tries) return p;
      } catch (const std::runtime_error& e) {  // no connection, half an answer, too late
        if (tries == given_.tries) throw std::runtime_error(u.text() + ": " + e.what());
      }
      ++again_;
      coir::this_fiber::sleep_for(given_.pause * (1 << std::min(tries - 1, 10U)));
    }
  }

  // Waits for a place with the host first, so that the places of all are for who can use them.
  page fetch_once(const url& u) {
    host& h = host_of(u);
    h.free.acquire();
    const place in_host(h.free);
    all_.acquire();
    const place in_all(all_);
    const examples::gauge::one counted(at_once_), of_host(h.used);
    return coir::with_timeout(given_.limit, [&] {
      coir::asio_stream server(coir::tcp_stream::connect(u.host, u.port));
      const auto answer = examples::ask(server, u.authority(), u.path);
      page p{.where = u, .status = answer.result_int(), .bytes = answer.body().size(), .links = {}};
      if (answer[http::field::content_type].starts_with("text/html"))
        p.links = examples::links_of(u, answer.body());
      if (const auto to = answer[http::field::location]; !to.empty())
        if (auto link = resolve(u, {to.data(), to.size()})) p.links.push_back(std::move(*link));
      return p;
    });
  }

  std::vector<url> take(coir::task<page>& fetched) try {
    page p = fetched.get();
    ++fetched_;
    bytes_ += p.bytes;
    ++statuses_[p.status];
    if (p.status >= 400) fail(p.where.text() + ": " + std::to_string(p.status));
    return std::move(p.links);
  } catch (const std::runtime_error& e) {
    fail(e.what());
    return {};
  }
  void fail(std::string why) {
    ++failed_;
    errors_.push_back(std::move(why));
  }

  struct place {
    explicit place(coir::counting_semaphore<>& s) : of(s) {}
    ~place() { of.release(); }
    place(const place&) = delete;
    place& operator=(const place&) = delete;
    coir::counting_semaphore<>& of;
  };

  const settings& given_;
  const coir::clock::time_point began_ = coir::clock::now();
  coir::counting_semaphore<> all_;
  examples::gauge at_once_;
  coir::mutex lock_;
  std::map<std::string, host> hosts_;  // under lock_
  std::atomic<std::size_t> found_{0}, fetched_{0}, failed_{0}, again_{0};
  std::size_t bytes_ = 0;  // this and those below: of the fiber in run()
  std::map<unsigned, std::size_t> statuses_;
  std::vector<std::string> errors_;
};

// Until all is fetched, or SIGINT or SIGTERM; whether nothing failed.
bool run_crawl(const settings& given, const url& start) {
  crawl c(given);
  coir::signal_set signals{SIGINT, SIGTERM};
  auto progress = coir::spawn([&] { c.show_progress(); });
  auto crawling = coir::spawn([&] { c.run(start); });
  auto stopper = coir::spawn([&] {
    signals.wait();
    crawling.cancel();
  });
  crawling.wait();
  progress.cancel();
  progress.wait();
  const bool whole = !crawling.cancelled();
  if (whole) crawling.get();
  return c.summary() && whole;
}

bool crawl_demo_site(const settings& given) {
  examples::http_service service({}, "none");
  coir::server server(coir::tcp_listener::bind(given.listen), [&](coir::tcp_stream peer) {
    examples::serve_demo_site(std::move(peer), service, given.pages);
  });
  auto serving = coir::spawn([&] { server.serve(); });
  const auto where = to_string(server.listener().local());
  std::printf("crawler: a site of %u pages at http://%s/\n", given.pages, where.c_str());
  std::fflush(stdout);
  const bool done = run_crawl(given, url::parse("http://" + where + "/"));
  server.stop(0s);
  serving.get();
  return done;
}

}  // namespace

int main(int argc, char** argv) {
  settings s;
  std::vector<url> starts;
  examples::command_line line("crawler", "fetches a site page by page.");
  line.option("--start", "URL", "the first page; without it: a site of its own", starts);
  line.option("--listen", "ADDRESS:PORT", "where its own site is", s.listen);
  line.option("--pages", "N", "of its own site (200)", s.pages);
  line.option("--at-once", "N", "pages (32)", s.at_once);
  line.option("--per-host", "N", "pages at once (8)", s.per_host);
  line.option("--tries", "N", "for a page (4)", s.tries);
  line.option("--pause", "MS", "before the second try, and twice that before the next (100)",
              s.pause);
  line.option("--time", "MS", "for one try (10000)", s.limit);
  line.option("--most", "N", "pages at all (100000)", s.most);
  bool done = false;
  const int status = line.run(argc, argv, [&] {
    done = starts.empty() ? crawl_demo_site(s) : run_crawl(s, starts.front());
  });
  return status != 0 || done ? status : 1;
}
