// A tokenizer whose tokens can be read off the text: one id a byte.
#ifndef QUANTD_TESTS_CORE_TEXT_BYTE_TOKENIZER_H_
#define QUANTD_TESTS_CORE_TEXT_BYTE_TOKENIZER_H_

#include <optional>
#include <string>
#include <vector>

#include "core/text/tokenizer.h"

namespace quantd {

// Id of a byte is its value. BOS is 256 where there is one, EOS 257; both are put around by EncodeWithSpecial.
class ByteTokenizer : public Tokenizer {
 public:
  static constexpr int32_t kBos = 256;
  static constexpr int32_t kEos = 257;

  explicit ByteTokenizer(bool has_bos = true) : has_bos_(has_bos) {}

  absl::StatusOr<std::vector<int32_t>> Encode(absl::string_view text) const override {
    std::vector<int32_t> ids;
    for (const char byte : text) ids.push_back(static_cast<unsigned char>(byte));
    return ids;
  }
  absl::StatusOr<std::vector<int32_t>> EncodeWithSpecial(absl::string_view text) const override {
    std::vector<int32_t> ids = *Encode(text);
    if (has_bos_) ids.insert(ids.begin(), kBos);
    ids.push_back(kEos);
    return ids;
  }
  std::string Decode(absl::Span<const int32_t>, bool) const override { return ""; }
  std::string Piece(int32_t) const override { return ""; }
  int32_t vocabulary_size() const override { return 258; }
  std::optional<int32_t> bos_id() const override { return has_bos_ ? std::optional<int32_t>(kBos) : std::nullopt; }
  std::optional<int32_t> eos_id() const override { return kEos; }
  bool adds_bos() const override { return has_bos_; }
  const std::string& source() const override { return source_; }

 private:
  bool has_bos_;
  std::string source_ = "byte tokenizer";
};

}  // namespace quantd

#endif  // QUANTD_TESTS_CORE_TEXT_BYTE_TOKENIZER_H_
