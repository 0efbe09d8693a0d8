// libsentencepiece behind a narrow interface. Its header declares an absl::string_view of its own, so the one file that
// includes it can include nothing of Abseil, and neither can this header.
#ifndef QUANTD_CORE_TEXT_SENTENCEPIECE_LIBRARY_H_
#define QUANTD_CORE_TEXT_SENTENCEPIECE_LIBRARY_H_

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace quantd {

// Immutable after Load; thread-safe. Ids handed in are inside 0..size()-1.
class SentencePieceLibrary {
 public:
  // nullptr with the library's words in `error`. `bytes` have passed CheckSentencePieceModel.
  static std::unique_ptr<const SentencePieceLibrary> Load(const std::string& bytes, std::string* error);
  ~SentencePieceLibrary();

  // False with the library's words in `error`.
  bool Encode(std::string_view text, std::vector<int>* ids, std::string* error) const;
  std::string Decode(const std::vector<int>& ids) const;

  int size() const;
  const std::string& Piece(int id) const;
  bool IsControl(int id) const;
  int IdOf(std::string_view piece) const;  // unknown_id() when there is none
  int unknown_id() const;
  int bos_id() const;  // -1: none
  int eos_id() const;  // -1: none

 private:
  struct Parts;
  SentencePieceLibrary();
  std::unique_ptr<Parts> parts_;
};

}  // namespace quantd

#endif  // QUANTD_CORE_TEXT_SENTENCEPIECE_LIBRARY_H_
