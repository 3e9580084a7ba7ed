// RESP2, the protocol of Redis: requests are read, replies and log records written.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace kv {

// Cuts a stream of bytes into requests: arrays of bulk strings, or lines of words ("inline").
// Keeps its place in a request that has come in part, so that what came is looked at once, however
// small the pieces were. After `bad` it is of no use any more.
class request_parser {
 public:
  explicit request_parser(std::size_t max_size) : max_size_(max_size) {}

  // `input`: the bytes from the beginning of a request on, of which there are more at each call
  // until it is whole. `empty`: a request without a word; it has a size, and no reply.
  enum class result : std::uint8_t { incomplete, request, empty, bad };
  result parse(std::string_view input);

  // Of the last one that was whole, until the next call: its words, its bytes if it came as an
  // array (else none), and how many bytes it took. The words lie in `input`, or here.
  std::span<const std::string_view> words() const noexcept { return words_; }
  std::string_view encoded() const noexcept { return encoded_; }
  std::size_t size() const noexcept { return size_; }

  const char* error() const noexcept { return error_; }  // after `bad`
  bool in_request() const noexcept { return begun_; }

 private:
  static constexpr std::int64_t unknown = -1;
  struct range {
    std::size_t offset, size;
  };

  result fail(const char* error) noexcept { return error_ = error, result::bad; }
  result done(std::size_t size) noexcept;
  result parse_count(std::string_view input, std::int64_t& to);
  result parse_array(std::string_view input);
  result parse_word(std::string_view input);
  result parse_inline(std::string_view input);
  bool split(std::string_view line);

  const std::size_t max_size_;
  bool begun_ = false;
  std::size_t at_ = 0;           // offset of what is to be parsed next
  std::size_t scanned_ = 0;      // of an inline request: it does not end before
  std::int64_t left_ = unknown;  // words still to come
  std::int64_t bulk_ = unknown;  // bytes of the next word
  std::vector<range> ranges_;    // words that have come; offsets, because the input may move
  std::vector<std::string> unquoted_;
  std::vector<std::string_view> words_;
  std::string_view encoded_;
  std::size_t size_ = 0;
  const char* error_ = "";
};

// Replies, appended to a string.
void put_simple(std::string& to, std::string_view text);
void put_error(std::string& to, std::string_view text);  // begins with its code: "ERR ..."
void put_integer(std::string& to, std::int64_t n);
void put_bulk(std::string& to, std::string_view bytes);
void put_null(std::string& to);
void put_null_array(std::string& to);
void put_array(std::string& to, std::size_t elements);  // which follow

// A request as an array: what stands in the log.
void put_request(std::string& to, std::span<const std::string_view> words);

}  // namespace kv
