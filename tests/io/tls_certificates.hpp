// Certificates that the tests of TLS make for themselves, as PEM files in a folder of their own.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

namespace coir::testing {

struct credentials {
  std::filesystem::path chain, key;
};

struct certificate_wish {
  std::string name;                // of the files
  std::vector<std::string> hosts;  // subjectAltName, as "DNS:localhost" or "IP:127.0.0.1"
  std::string common_name = "coir";
  int days_from = -1, days_to = 1;  // when it is valid, from now on
  bool self_signed = false;
  bool by_intermediate = false;  // the chain has the intermediate's certificate as well
};

// Made once in a process; the folder goes with it.
class certificate_folder {
 public:
  static const certificate_folder& get();

  std::filesystem::path authority;            // whom to trust
  credentials good;                           // localhost, *.coir.test, 127.0.0.1, ::1
  credentials through_intermediate;           // localhost
  credentials other_host;                     // other.test
  credentials only_common_name;               // localhost, in its common name alone
  credentials expired, not_yet, self_signed;  // localhost
  credentials client;                         // for clients that are asked

  std::filesystem::path write(const std::string& name, const std::string& content) const;
  ~certificate_folder();
  certificate_folder(const certificate_folder&) = delete;
  certificate_folder& operator=(const certificate_folder&) = delete;

 private:
  certificate_folder();
  std::filesystem::path folder_;
};

// How many blocks of memory OpenSSL has at the moment.
long openssl_blocks();

}  // namespace coir::testing
