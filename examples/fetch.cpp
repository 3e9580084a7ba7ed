// Gets a page from several HTTP servers at once and prints each one's headers as they come.
//   fetch 127.0.0.1:8001/ 127.0.0.1:8002/index.html [::1]:8003/
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include <coir/coir.hpp>

namespace {

void fetch(const std::string& what) {
  const auto slash = what.find('/');
  const std::string host = what.substr(0, slash);
  const std::string path = slash == what.npos ? "/" : what.substr(slash);

  auto server = coir::tcp_stream::connect(coir::endpoint::parse(host));
  server.write("GET " + path + " HTTP/1.0\r\nHost: " + host + "\r\nConnection: close\r\n\r\n");

  std::string unread;
  char buffer[4096];
  while (const std::size_t n = server.read_some(buffer)) {
    unread.append(buffer, n);
    for (auto end = unread.find("\r\n"); end != unread.npos; end = unread.find("\r\n")) {
      if (end == 0) return;  // the empty line: the page itself follows
      std::printf("%s: %s\n", what.c_str(), unread.substr(0, end).c_str());
      unread.erase(0, end + 2);
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: %s ADDRESS:PORT[/PATH]...\n", argv[0]);
    return 2;
  }
  const std::vector<std::string> pages(argv + 1, argv + argc);
  int failed = 0;
  coir::run([&] {
    std::vector<coir::task<void>> fetches;
    for (const std::string& page : pages) fetches.push_back(coir::spawn(fetch, page));
    for (std::size_t i = 0; i < pages.size(); ++i) {
      try {
        fetches[i].get();
      } catch (const std::exception& e) {
        std::fprintf(stderr, "%s: %s\n", pages[i].c_str(), e.what());
        ++failed;
      }
    }
  });
  return failed == 0 ? 0 : 1;
}
