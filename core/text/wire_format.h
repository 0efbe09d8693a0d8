// Protobuf's wire format, read field by field from bytes that nobody vouches for.
#ifndef QUANTD_CORE_TEXT_WIRE_FORMAT_H_
#define QUANTD_CORE_TEXT_WIRE_FORMAT_H_

#include <cstdint>
#include <optional>

#include "absl/strings/string_view.h"

namespace quantd {

enum class WireType { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

struct WireField {
  uint32_t number = 0;
  WireType type = WireType::kVarint;
  uint64_t value = 0;       // varint, fixed64, fixed32
  absl::string_view bytes;  // length-delimited
};

// Next() gives the fields of one message in order, then nothing; ok() says whether that was its end.
class WireReader {
 public:
  explicit WireReader(absl::string_view message) : rest_(message) {}
  std::optional<WireField> Next();
  bool ok() const { return ok_; }

 private:
  std::optional<uint64_t> Varint();
  std::optional<uint64_t> Fixed(size_t size);
  bool ReadValue(WireField* field);

  absl::string_view rest_;
  bool ok_ = true;
};

}  // namespace quantd

#endif  // QUANTD_CORE_TEXT_WIRE_FORMAT_H_
