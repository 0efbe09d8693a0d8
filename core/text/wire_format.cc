#include "core/text/wire_format.h"

namespace quantd {
namespace {

constexpr int kMaxVarintBytes = 10;

uint64_t ByteAt(absl::string_view bytes, size_t position) {
  return static_cast<uint8_t>(bytes[position]);
}

}  // namespace

std::optional<uint64_t> WireReader::Varint() {
  uint64_t value = 0;
  for (int i = 0; i < kMaxVarintBytes && !rest_.empty(); ++i) {
    const uint64_t byte = ByteAt(rest_, 0);
    rest_.remove_prefix(1);
    value |= (byte & 0x7F) << (7 * i);
    if (byte < 0x80) return value;
  }
  return std::nullopt;
}

std::optional<uint64_t> WireReader::Fixed(size_t size) {
  if (rest_.size() < size) return std::nullopt;
  uint64_t value = 0;
  for (size_t i = 0; i < size; ++i) value |= ByteAt(rest_, i) << (8 * i);
  rest_.remove_prefix(size);
  return value;
}

bool WireReader::ReadValue(WireField* field) {
  std::optional<uint64_t> value;
  switch (field->type) {
    case WireType::kVarint:
    case WireType::kBytes:
      value = Varint();
      break;
    case WireType::kFixed64:
      value = Fixed(8);
      break;
    case WireType::kFixed32:
      value = Fixed(4);
      break;
    default:  // groups and reserved types
      break;
  }
  if (!value.has_value()) return false;
  if (field->type != WireType::kBytes) {
    field->value = *value;
    return true;
  }
  if (*value > rest_.size()) return false;
  field->bytes = rest_.substr(0, *value);
  rest_.remove_prefix(*value);
  return true;
}

std::optional<WireField> WireReader::Next() {
  if (rest_.empty() || !ok_) return std::nullopt;
  const std::optional<uint64_t> key = Varint();
  WireField field;
  ok_ = key.has_value() && *key <= UINT32_MAX && (*key >> 3) != 0;
  if (!ok_) return std::nullopt;
  field.number = static_cast<uint32_t>(*key >> 3);
  field.type = static_cast<WireType>(*key & 7);
  ok_ = ReadValue(&field);
  if (!ok_) return std::nullopt;
  return field;
}

}  // namespace quantd
