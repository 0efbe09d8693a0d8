// tokenizer.model through libsentencepiece. Texts of special tokens inside a text stay ordinary text here.
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/file_system.h"
#include "core/text/json_part.h"
#include "core/text/sentencepiece_check.h"
#include "core/text/sentencepiece_library.h"
#include "core/text/text_check.h"
#include "core/text/tokenizer.h"
#include "core/text/tokenizer_config.h"
#include "core/text/tokenizer_files.h"

namespace quantd {
namespace {

class SentencePieceTokenizer : public Tokenizer {
 public:
  SentencePieceTokenizer(std::unique_ptr<const SentencePieceLibrary> library, std::string source)
      : library_(std::move(library)), source_(std::move(source)) {}

  // Llama's tokenizers put BOS in front unless their configuration says otherwise.
  absl::Status Configure(const TokenizerConfig& config) {
    bos_id_ = IdOf(config.bos_token, library_->bos_id());
    eos_id_ = IdOf(config.eos_token, library_->eos_id());
    adds_bos_ = config.add_bos_token.value_or(bos_id_.has_value());
    adds_eos_ = config.add_eos_token.value_or(false);
    if (adds_bos_ && !bos_id_.has_value())
      return TokenizerMalformed(config.file, "add_bos_token is true without a BOS");
    if (adds_eos_ && !eos_id_.has_value())
      return TokenizerMalformed(config.file, "add_eos_token is true without an EOS");
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<int32_t>> Encode(absl::string_view text) const override {
    RETURN_IF_ERROR(CheckText(text));
    std::vector<int> ids;
    std::string error;
    const bool encoded = library_->Encode(std::string_view(text.data(), text.size()), &ids, &error);
    if (encoded) return std::vector<int32_t>(ids.begin(), ids.end());
    return absl::InternalError(absl::StrCat(source_, ": libsentencepiece: ", error));
  }

  absl::StatusOr<std::vector<int32_t>> EncodeWithSpecial(absl::string_view text) const override {
    ASSIGN_OR_RETURN(std::vector<int32_t> ids, Encode(text));
    if (adds_bos_) ids.insert(ids.begin(), *bos_id_);
    if (adds_eos_) ids.push_back(*eos_id_);
    return ids;
  }

  // The library drops control pieces; where they are wanted, the stretches between them are decoded apart.
  std::string Decode(absl::Span<const int32_t> ids, bool skip_special) const override {
    std::string out;
    std::vector<int> run;
    for (const int32_t id : ids) {
      if (id < 0 || id >= vocabulary_size()) continue;
      if (!library_->IsControl(id)) {
        run.push_back(id);
      } else if (!skip_special) {
        absl::StrAppend(&out, library_->Decode(run), library_->Piece(id));
        run.clear();
      }
    }
    return absl::StrCat(out, library_->Decode(run));
  }

  std::string Piece(int32_t id) const override { return id < 0 || id >= vocabulary_size() ? "" : library_->Piece(id); }

  int32_t vocabulary_size() const override { return library_->size(); }
  std::optional<int32_t> bos_id() const override { return bos_id_; }
  std::optional<int32_t> eos_id() const override { return eos_id_; }
  bool adds_bos() const override { return adds_bos_; }
  const std::string& source() const override { return source_; }

 private:
  std::optional<int32_t> IdOf(const std::optional<std::string>& named, int in_model) const {
    if (named.has_value()) {
      const int id = library_->IdOf(*named);
      if (id != library_->unknown_id()) return id;
    }
    return in_model < 0 ? std::nullopt : std::optional<int32_t>(in_model);
  }

  std::unique_ptr<const SentencePieceLibrary> library_;
  std::string source_;
  std::optional<int32_t> bos_id_;
  std::optional<int32_t> eos_id_;
  bool adds_bos_ = false;
  bool adds_eos_ = false;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> OpenSentencePiece(const std::string& path) {
  absl::StatusOr<std::string> bytes = RealFileSystem().ReadFile(path, kMaxSentencePieceBytes);
  if (!bytes.ok()) return AsTokenizerError(bytes.status());
  RETURN_IF_ERROR(CheckSentencePieceModel(*bytes, path));
  std::string error;
  auto library = SentencePieceLibrary::Load(*bytes, &error);
  if (library == nullptr) return TokenizerMalformed(path, absl::StrCat("libsentencepiece: ", error));
  ASSIGN_OR_RETURN(const TokenizerConfig config, ReadTokenizerConfig(DirectoryName(path)));
  auto tokenizer = std::make_unique<SentencePieceTokenizer>(std::move(library), path);
  RETURN_IF_ERROR(tokenizer->Configure(config));
  return tokenizer;
}

}  // namespace quantd
