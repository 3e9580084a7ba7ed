// What can be set on a UDP socket, on every rung: addresses, broadcast, groups, buffers.
#include <net/if.h>

#include "datagrams.hpp"

namespace coir::testing {
namespace {

class udp_options_test : public io_test {};
INSTANTIATE_TEST_SUITE_P(rungs, udp_options_test, every_rung(), rung_name);

TEST_P(udp_options_test, an_address_in_use_is_named_and_can_be_shared) {
  on_fiber([] {
    auto first = here();
    try {
      udp_socket::bind(first.local());
      ADD_FAILURE();
    } catch (const std::system_error& e) {
      EXPECT_EQ(e.code(), std::errc::address_in_use);
      EXPECT_NE(std::string(e.what()).find(to_string(first.local())), std::string::npos);
    }
    auto shared = udp_socket::bind(any_port, {.reuse_port = true});
    EXPECT_TRUE(udp_socket::bind(shared.local(), {.reuse_port = true}).is_open());
    EXPECT_EQ(error_of([] { udp_socket::bind(endpoint::parse("unix:@x")); }),
              std::errc::address_family_not_supported);
    EXPECT_EQ(error_of([] { udp_socket::bind(endpoint::parse("192.0.2.1:0")); }),
              std::errc::address_not_available);
  });
}

TEST_P(udp_options_test, broadcasts_have_to_be_allowed) {
  on_fiber([] {
    auto a = here();
    auto b = udp_socket::bind(endpoint::parse("0.0.0.0:0"));
    const endpoint all = endpoint::parse("127.255.255.255:" + std::to_string(b.local().port()));
    EXPECT_EQ(error_of([&] { a.send_to("x", all); }), std::errc::permission_denied);
    a.set_broadcast(true);
    a.send_to("all", all);
    char buffer[8];
    EXPECT_EQ(text(b.recv_from(buffer), buffer), "all");
    a.set_broadcast(false);
    EXPECT_EQ(error_of([&] { a.send_to("x", all); }), std::errc::permission_denied);
  });
}

// The members of a group get what is sent to it; who has left gets nothing more. False: that
// interface carries no such messages.
bool exchange_in_group(const std::string& any, const std::string& group_address,
                       const std::string& interface) {
  auto one = udp_socket::bind(endpoint::parse(any + ":0"), {.reuse_address = true});
  const std::string port = ":" + std::to_string(one.local().port());
  auto two = udp_socket::bind(endpoint::parse(any + port), {.reuse_address = true});
  const endpoint group = endpoint::parse(group_address + port);
  std::error_code error;
  for (udp_socket* s : {&one, &two}) {
    EXPECT_EQ(error_of([&] { s->join_group(group, "no-such-if"); }), std::errc::no_such_device);
    if (s->join_group(group, interface, error); error) return false;
  }
  auto sender = udp_socket::bind(endpoint::parse(any + ":0"));
  sender.set_multicast_interface(interface);
  sender.set_multicast_ttl(1);
  sender.set_multicast_loop(true);
  EXPECT_EQ(error_of([&] { sender.set_multicast_interface("no-such-if"); }),
            std::errc::no_such_device);
  if (sender.send_to("all", group, error); error) return false;
  char buffer[8];
  EXPECT_EQ(text(one.recv_from(buffer), buffer), "all");
  EXPECT_EQ(text(two.recv_from(buffer), buffer), "all");
  one.leave_group(group, interface);
  EXPECT_EQ(error_of([&] { one.leave_group(group, interface); }), std::errc::address_not_available);
  sender.send_to("two", group);
  EXPECT_EQ(text(two.recv_from(buffer), buffer), "two");
  one.set_read_deadline(clock::now() + 10ms);
  EXPECT_EQ(error_of([&] { (void)one.recv_from(buffer); }), std::errc::timed_out)
      << "it hears a group of others";
  return true;
}

TEST_P(udp_options_test, groups_of_both_families_can_be_joined_and_left) {
  on_fiber([] {
    EXPECT_TRUE(exchange_in_group("0.0.0.0", "239.255.77.1", "lo"));
    std::error_code error;
    if (udp_socket::bind(endpoint::parse("[::1]:0"), error); error) return;  // no IPv6
    bool done = false;
    struct if_nameindex* const all = ::if_nameindex();
    for (auto* i = all; i != nullptr && i->if_index != 0; ++i)
      done = done || exchange_in_group("[::]", "[ff02::77:1]", i->if_name);
    if (all != nullptr) ::if_freenameindex(all);
    if (!done) std::printf("no interface with multicast of IPv6\n");
  });
}

TEST_P(udp_options_test, the_kernel_chooses_an_interface_where_none_is_named) {
  on_fiber([] {
    std::error_code error;
    auto s = udp_socket::bind(endpoint::parse("0.0.0.0:0"));
    const endpoint no_group = endpoint::parse("127.0.0.1:0");
    s.join_group(no_group, error);
    EXPECT_EQ(error, std::errc::invalid_argument);
    s.leave_group(no_group, error);
    EXPECT_TRUE(error);
    EXPECT_EQ(error_of([&] { s.join_group(no_group); }), std::errc::invalid_argument);
  });
}

TEST_P(udp_options_test, buffers_become_what_is_asked_for_or_more) {
  on_fiber([] {
    auto a = here();
    a.set_receive_buffer(20'000);
    a.set_send_buffer(30'000);
    EXPECT_GE(a.receive_buffer(), 20'000U);
    EXPECT_GE(a.send_buffer(), 30'000U);
    a.set_send_buffer(~std::size_t{0});  // the system's limit
    EXPECT_GE(a.send_buffer(), 30'000U);
  });
}

}  // namespace
}  // namespace coir::testing
