#include "fake_names.hpp"

#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>

#include <arpa/inet.h>
#include <dlfcn.h>
#include <netdb.h>
#include <netinet/in.h>

namespace coir::testing::fake_names {
namespace {

struct answer {
  std::vector<std::string> addresses;
  int code = 0, error = 0;
};
std::mutex mutex;
std::condition_variable changed;
// Under mutex, all of it. Never destroyed: a resolver's thread may still ask when main has
// returned.
auto& answers = *new std::map<std::string, answer>;
unsigned calls = 0, blocked = 0;
bool blocking = false;

// A list of ours begins with one of these.
struct node {
  addrinfo info{};
  sockaddr_storage address{};
};
const char ours[] = "coir's test";

addrinfo* list_of(const std::vector<std::string>& addresses, const char* service) {
  addrinfo* first = nullptr;
  for (auto a = addresses.rbegin(); a != addresses.rend(); ++a) {
    auto* n = new node;
    const auto port = htons(static_cast<std::uint16_t>(service ? std::atoi(service) : 0));
    auto* four = reinterpret_cast<sockaddr_in*>(&n->address);
    auto* six = reinterpret_cast<sockaddr_in6*>(&n->address);
    if (::inet_pton(AF_INET, a->c_str(), &four->sin_addr) == 1) {
      four->sin_family = AF_INET;
      four->sin_port = port;
      n->info.ai_addrlen = sizeof *four;
    } else {
      ::inet_pton(AF_INET6, a->c_str(), &six->sin6_addr);
      six->sin6_family = AF_INET6;
      six->sin6_port = port;
      n->info.ai_addrlen = sizeof *six;
    }
    n->info.ai_addr = reinterpret_cast<sockaddr*>(&n->address);
    n->info.ai_canonname = const_cast<char*>(ours);
    n->info.ai_next = first;
    first = &n->info;
  }
  return first;
}

}  // namespace

void set(const std::string& host, const std::vector<std::string>& addresses) {
  std::lock_guard held(mutex);
  answers[host] = {addresses, 0, 0};
}
void fail(const std::string& host, int code, int error) {
  std::lock_guard held(mutex);
  answers[host] = {{}, code, error};
}

blockade::blockade() {
  std::lock_guard held(mutex);
  blocking = true;
}
blockade::~blockade() {
  std::unique_lock lock(mutex);
  blocking = false;
  changed.notify_all();
  changed.wait(lock, [] { return blocked == 0; });
}
unsigned blocked_now() {
  std::lock_guard held(mutex);
  return blocked;
}
unsigned asked() {
  std::lock_guard held(mutex);
  return calls;
}

namespace {

// False: the system's.
bool look_up(const std::string& host, const char* service, addrinfo** into, int& code) {
  std::unique_lock lock(mutex);
  ++calls;
  code = EAI_NONAME;
  if (host.ends_with(".blocked")) {
    ++blocked;
    changed.wait(lock, [] { return !blocking; });
    --blocked;
    changed.notify_all();
    return true;
  }
  const auto found = answers.find(host);
  if (found == answers.end()) return false;
  *into = list_of(found->second.addresses, service);
  errno = found->second.error;
  code = found->second.code;
  return true;
}

template <class F>
F system_s(const char* name) {
  return reinterpret_cast<F>(::dlsym(RTLD_NEXT, name));
}

}  // namespace
}  // namespace coir::testing::fake_names

extern "C" int getaddrinfo(const char* host, const char* service, const addrinfo* hints,
                           addrinfo** into) {
  int code = 0;
  if (coir::testing::fake_names::look_up(host, service, into, code)) return code;
  return coir::testing::fake_names::system_s<decltype(&::getaddrinfo)>("getaddrinfo")(host, service,
                                                                                      hints, into);
}
extern "C" void freeaddrinfo(addrinfo* list) {
  using namespace coir::testing::fake_names;
  if (list == nullptr || list->ai_canonname != ours)
    return system_s<decltype(&::freeaddrinfo)>("freeaddrinfo")(list);
  while (list != nullptr) {
    addrinfo* const after = list->ai_next;
    delete reinterpret_cast<node*>(list);
    list = after;
  }
}
