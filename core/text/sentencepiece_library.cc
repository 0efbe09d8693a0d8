#include "core/text/sentencepiece_library.h"

#include <sentencepiece_processor.h>

#include <exception>

namespace quantd {

struct SentencePieceLibrary::Parts {
  sentencepiece::SentencePieceProcessor processor;
};

SentencePieceLibrary::SentencePieceLibrary() : parts_(std::make_unique<Parts>()) {}
SentencePieceLibrary::~SentencePieceLibrary() = default;

// The library reports most problems by status, some by exception.
std::unique_ptr<const SentencePieceLibrary> SentencePieceLibrary::Load(const std::string& bytes, std::string* error) {
  std::unique_ptr<SentencePieceLibrary> library(new SentencePieceLibrary());
  try {
    const auto status = library->parts_->processor.LoadFromSerializedProto(bytes);
    if (status.ok()) return library;
    *error = status.ToString();
  } catch (const std::exception& exception) {
    *error = exception.what();
  }
  return nullptr;
}

bool SentencePieceLibrary::Encode(std::string_view text, std::vector<int>* ids, std::string* error) const {
  try {
    const auto status = parts_->processor.Encode(text, ids);
    if (!status.ok()) *error = status.ToString();
    return status.ok();
  } catch (const std::exception& exception) {
    *error = exception.what();
    return false;
  }
}

std::string SentencePieceLibrary::Decode(const std::vector<int>& ids) const {
  return parts_->processor.DecodeIds(ids);
}

int SentencePieceLibrary::size() const {
  return parts_->processor.GetPieceSize();
}
const std::string& SentencePieceLibrary::Piece(int id) const {
  return parts_->processor.IdToPiece(id);
}
bool SentencePieceLibrary::IsControl(int id) const {
  return parts_->processor.IsControl(id);
}
int SentencePieceLibrary::IdOf(std::string_view piece) const {
  return parts_->processor.PieceToId(piece);
}
int SentencePieceLibrary::unknown_id() const {
  return parts_->processor.unk_id();
}
int SentencePieceLibrary::bos_id() const {
  return parts_->processor.bos_id();
}
int SentencePieceLibrary::eos_id() const {
  return parts_->processor.eos_id();
}

}  // namespace quantd
