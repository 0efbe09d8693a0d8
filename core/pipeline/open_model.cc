#include "core/pipeline/open_model.h"

#include <utility>

#include "absl/strings/str_format.h"
#include "core/base/file_system.h"
#include "core/base/status.h"
#include "core/formats/checkpoint.h"
#include "core/formats/manifest.h"

namespace quantd {
namespace {

absl::Status CheckVocabulary(const Tokenizer& tokenizer, const Transformer& model) {
  const int64_t rows = model.config().vocabulary_size;
  if (tokenizer.vocabulary_size() <= rows) return absl::OkStatus();
  return InvalidInput(
      "VOCABULARY_LARGER_THAN_EMBEDDING",
      absl::StrFormat("%s: the tokenizer has ids up to %d, the embedding has %d rows; the tokenizer belongs "
                      "to another model",
                      tokenizer.source(), tokenizer.vocabulary_size() - 1, rows));
}

}  // namespace

absl::StatusOr<OpenedModel> OpenModelFolder(const std::string& folder, bool with_tokenizer, ArtifactHold hold) {
  if (!RealFileSystem().IsDirectory(folder)) {
    return ReasonError(
        absl::StatusCode::kNotFound, "MODEL_NOT_FOUND",
        absl::StrFormat("%s: no such folder; a model is a folder with config.json and safetensors", folder));
  }
  OpenedModel opened;
  opened.folder = folder;
  std::shared_ptr<const WeightSource> weights;
  if (IsArtifactFolder(folder)) {
    ASSIGN_OR_RETURN(auto artifact, ArtifactWeights::Open(folder, hold));
    opened.artifact = artifact.get();
    weights = std::move(artifact);
  } else {
    ASSIGN_OR_RETURN(weights, OpenCheckpoint(folder));
  }
  ASSIGN_OR_RETURN(opened.model, Transformer::Open(folder, std::move(weights)));
  if (!with_tokenizer) return opened;
  ASSIGN_OR_RETURN(opened.tokenizer, OpenTokenizer(folder));
  RETURN_IF_ERROR(CheckVocabulary(*opened.tokenizer, *opened.model));
  return opened;
}

}  // namespace quantd
