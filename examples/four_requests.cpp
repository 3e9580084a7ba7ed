// Four requests to a slow server, one after another and then all at once, with both times.
#include <array>
#include <chrono>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include <coir/coir.hpp>

using namespace std::chrono_literals;

namespace {

void answer_slowly(coir::tcp_stream peer) {
  std::array<char, 64> question{};
  const std::size_t n = peer.read_some(question);
  coir::this_fiber::sleep_for(100ms);
  peer.write("answer to " + std::string(question.data(), n));
}

std::string request(const coir::endpoint& server, int number) {
  auto stream = coir::tcp_stream::connect(server);
  stream.write(std::to_string(number));
  std::array<char, 64> answer{};
  return {answer.data(), stream.read_some(answer)};
}

template <class F>
long milliseconds(F&& f) {
  const auto began = coir::clock::now();
  f();
  return static_cast<long>((coir::clock::now() - began) / 1ms);
}

}  // namespace

int main() {
  coir::run([] {
    coir::server server(coir::tcp_listener::bind(coir::endpoint::parse("127.0.0.1:0")),
                        answer_slowly);
    const auto where = server.listener().local();
    auto serving = coir::spawn([&] { server.serve(); });

    const long in_turn = milliseconds([&] {
      for (int i = 1; i <= 4; ++i) std::puts(request(where, i).c_str());
    });
    std::vector<std::function<std::string()>> requests;
    for (int i = 1; i <= 4; ++i) requests.emplace_back([&where, i] { return request(where, i); });
    std::vector<std::string> answers;
    const long at_once = milliseconds([&] { answers = coir::gather(requests); });
    for (const auto& a : answers) std::puts(a.c_str());

    std::printf("one after another: %ld ms, all at once: %ld ms\n", in_turn, at_once);
    server.stop(1s);
    serving.get();
  });
}
