#include "core/text/sentencepiece_check.h"

#include <bit>
#include <cmath>

#include "absl/strings/str_format.h"
#include "core/text/bpe_model.h"
#include "core/text/json_part.h"
#include "core/text/utf8.h"
#include "core/text/wire_format.h"

namespace quantd {
namespace {

// Field numbers of ModelProto and its parts (formats.md section 6 lists what they hold).
constexpr uint32_t kPieces = 1;
constexpr uint32_t kTrainerSpec = 2;
constexpr uint32_t kNormalizerSpec = 3;
constexpr uint32_t kDenormalizerSpec = 5;
constexpr uint32_t kPieceText = 1;
constexpr uint32_t kPieceScore = 2;
constexpr uint32_t kTrainerModelType = 3;
constexpr uint32_t kCompiledTable = 2;

constexpr uint64_t kUnigram = 1;
constexpr uint64_t kBpe = 2;

class ModelChecker {
 public:
  ModelChecker(absl::string_view bytes, absl::string_view path) : bytes_(bytes), path_(path) {}

  absl::Status Check() {
    WireReader reader(bytes_);
    while (const std::optional<WireField> field = reader.Next()) RETURN_IF_ERROR(CheckPart(*field));
    if (!reader.ok()) return Malformed("its protobuf fields end too early or are broken");
    if (pieces_ == 0) return Malformed("there are no pieces");
    return absl::OkStatus();
  }

 private:
  absl::Status Malformed(absl::string_view problem) const { return TokenizerMalformed(path_, problem); }

  absl::Status CheckPart(const WireField& field) {
    const bool known = field.number == kPieces || field.number == kTrainerSpec || field.number == kNormalizerSpec ||
                       field.number == kDenormalizerSpec;
    if (!known) return absl::OkStatus();
    if (field.type != WireType::kBytes) return Malformed(absl::StrFormat("field %d is no message", field.number));
    if (field.number == kPieces) return CheckPiece(field.bytes);
    if (field.number == kTrainerSpec) return CheckTrainer(field.bytes);
    return CheckNormalizer(field.bytes);
  }

  absl::Status CheckPiece(absl::string_view message) {
    if (pieces_++ > kMaxTokenId) return Malformed(absl::StrFormat("more than %d pieces", kMaxTokenId + 1));
    absl::string_view text;
    WireReader reader(message);
    while (const std::optional<WireField> field = reader.Next()) {
      if (field->number == kPieceText && field->type == WireType::kBytes) text = field->bytes;
      const bool is_score = field->number == kPieceScore && field->type == WireType::kFixed32;
      if (is_score && !std::isfinite(std::bit_cast<float>(static_cast<uint32_t>(field->value)))) {
        return Malformed(absl::StrFormat("piece %d has a score that is not finite", pieces_ - 1));
      }
    }
    if (!reader.ok()) return Malformed(absl::StrFormat("piece %d is cut off", pieces_ - 1));
    // The library's search tree takes a NUL for the end of a piece.
    if (text.empty() || FirstInvalidUtf8(text).has_value() || text.find('\0') != absl::string_view::npos) {
      return Malformed(absl::StrFormat("piece %d is empty, not UTF-8 or holds a NUL byte", pieces_ - 1));
    }
    return absl::OkStatus();
  }

  absl::Status CheckTrainer(absl::string_view message) const {
    WireReader reader(message);
    while (const std::optional<WireField> field = reader.Next()) {
      if (field->number != kTrainerModelType || field->type != WireType::kVarint) continue;
      if (field->value != kBpe && field->value != kUnigram) {
        return TokenizerUnsupported(path_, absl::StrFormat("trainer_spec.model_type %d", field->value));
      }
    }
    return reader.ok() ? absl::OkStatus() : Malformed("trainer_spec is cut off");
  }

  // The table is an automaton that the library follows unchecked. Models of the Llama family have none.
  absl::Status CheckNormalizer(absl::string_view message) const {
    WireReader reader(message);
    while (const std::optional<WireField> field = reader.Next()) {
      if (field->number == kCompiledTable && !field->bytes.empty()) {
        return TokenizerUnsupported(path_, "normalizer_spec.precompiled_charsmap");
      }
    }
    return reader.ok() ? absl::OkStatus() : Malformed("normalizer_spec is cut off");
  }

  absl::string_view bytes_;
  absl::string_view path_;
  int32_t pieces_ = 0;
};

}  // namespace

absl::Status CheckSentencePieceModel(absl::string_view bytes, absl::string_view path) {
  return ModelChecker(bytes, path).Check();
}

}  // namespace quantd
