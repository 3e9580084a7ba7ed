// Gets a page from several HTTP servers at once and prints each one's headers as they come.
//   fetch localhost:8001/ http://example.org/index.html [::1]:8003/ https://example.org/
//   fetch --ca test-authority.pem https://localhost:8443/     (trusts that as well)
#include <cstdio>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <coir/coir.hpp>

namespace {

struct page {
  std::string host, port, path = "/";
  std::string authority;  // host and port, as they were written
  bool tls = false;
};

page parse(std::string_view text) {
  const auto is_no_page = [&](const char* why) {
    return std::invalid_argument("\"" + std::string(text) + "\" is no page: " + why);
  };
  std::string_view rest = text;
  page p;
  p.tls = rest.starts_with("https://");
  p.port = p.tls ? "443" : "80";
  if (p.tls || rest.starts_with("http://")) rest.remove_prefix(p.tls ? 8 : 7);
  if (rest.find("://") < rest.find('/')) throw is_no_page("only http and https are known here");
  if (const auto slash = rest.find('/'); slash != rest.npos) {
    p.path = rest.substr(slash);
    rest = rest.substr(0, slash);
  }
  p.authority = rest;
  // An IPv6 address has colons of its own, and so stands in brackets.
  const auto end = rest.starts_with('[') ? rest.find(']') : rest.find(':');
  if (rest.starts_with('[')) {
    if (end == rest.npos) throw is_no_page("the bracket is not closed");
    p.host = rest.substr(1, end - 1);
    rest = rest.substr(end + 1);
  } else {
    p.host = rest.substr(0, end);
    rest = end == rest.npos ? "" : rest.substr(end);
  }
  if (p.host.empty()) throw is_no_page("it has no host");
  if (rest.empty()) return p;
  if (rest[0] != ':' || rest.size() == 1) throw is_no_page("a port has to follow the host");
  p.port = rest.substr(1);
  return p;
}

// Over any stream.
template <coir::byte_stream Stream>
void print_headers(const std::string& what, const page& p, Stream server) {
  server.write("GET " + p.path + " HTTP/1.0\r\nHost: " + p.authority +
               "\r\nConnection: close\r\n\r\n");
  coir::reader lines(server);
  while (const auto line = lines.read_line()) {
    if (line->empty()) return;  // the page itself follows
    std::printf("%s: %s\n", what.c_str(), line->c_str());
  }
}

void fetch(const std::string& what, const coir::tls_context& trust) {
  const page p = parse(what);
  auto server = coir::tcp_stream::connect(p.host, p.port);
  if (p.tls)
    print_headers(what, p, coir::tls_stream::connect(std::move(server), trust, p.host));
  else
    print_headers(what, p, std::move(server));
}

int usage(const char* program) {
  std::fprintf(stderr, "usage: %s [--ca PEM_FILE] [http[s]://]HOST[:PORT][/PATH]...\n", program);
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> pages(argv + 1, argv + argc);
  try {
    auto trust = coir::tls_context::client();
    while (pages.size() >= 2 && pages[0] == "--ca") {
      trust.add_trusted(pages[1]);
      pages.erase(pages.begin(), pages.begin() + 2);
    }
    if (pages.empty() || pages[0].starts_with('-')) return usage(argv[0]);
    std::setvbuf(stdout, nullptr, _IOLBF, 0);  // as they come, into a pipe too
    int failed = 0;
    coir::run([&] {
      std::vector<coir::task<void>> fetches;
      for (const std::string& page : pages)
        fetches.push_back(coir::spawn([&] { fetch(page, trust); }));
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
  } catch (const std::exception& e) {
    std::fprintf(stderr, "fetch: %s\n", e.what());
    return 1;
  }
}
