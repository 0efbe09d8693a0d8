#include "core/text/byte_alphabet.h"

#include <array>

#include "core/text/utf8.h"

namespace quantd {
namespace {

constexpr int kMapped = 0x144;  // one past the last character of the alphabet

constexpr bool StandsForItself(int byte) {
  return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

constexpr std::array<char32_t, 256> MakeCharacters() {
  std::array<char32_t, 256> characters{};
  char32_t next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    characters[static_cast<size_t>(byte)] = StandsForItself(byte) ? static_cast<char32_t>(byte) : next++;
  }
  return characters;
}

constexpr std::array<char32_t, 256> kCharacters = MakeCharacters();

constexpr std::array<int16_t, kMapped> MakeBytes() {
  std::array<int16_t, kMapped> bytes{};
  for (int16_t& byte : bytes) byte = -1;
  for (int byte = 0; byte < 256; ++byte) bytes[kCharacters[static_cast<size_t>(byte)]] = static_cast<int16_t>(byte);
  return bytes;
}

constexpr std::array<int16_t, kMapped> kBytes = MakeBytes();

}  // namespace

char32_t AlphabetCharacter(uint8_t byte) {
  return kCharacters[byte];
}

std::string SpellBytes(absl::string_view bytes) {
  std::string spelling;
  spelling.reserve(2 * bytes.size());
  for (const char byte : bytes) AppendUtf8(AlphabetCharacter(static_cast<uint8_t>(byte)), &spelling);
  return spelling;
}

std::optional<std::string> SpelledBytes(absl::string_view spelling) {
  std::string bytes;
  bytes.reserve(spelling.size());
  for (size_t position = 0; position < spelling.size();) {
    const char32_t character = NextCodePoint(spelling, &position);
    if (character >= kMapped || kBytes[character] < 0) return std::nullopt;
    bytes.push_back(static_cast<char>(kBytes[character]));
  }
  return bytes;
}

}  // namespace quantd
