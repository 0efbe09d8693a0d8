// The files of a model folder beside its weights, and the fingerprint of the whole.
#ifndef QUANTD_CORE_FORMATS_MODEL_FILES_H_
#define QUANTD_CORE_FORMATS_MODEL_FILES_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/base/file_system.h"

namespace quantd {

// Whether an artifact keeps a file of this name unchanged: configuration, tokenizer, chat template, licence. Weights,
// README files and everything unknown are not.
bool IsCopiedModelFile(absl::string_view name);

// Names of such files in `folder`, sorted.
absl::StatusOr<std::vector<std::string>> CopiedModelFiles(FileSystem& files, const std::string& folder);

// Copies them, byte for byte, each durably. COPIED_FILE_TOO_LARGE above 256 MiB.
absl::Status CopyModelFiles(FileSystem& files, const std::string& from, const std::string& to);

// SHA-256, in hex, over the sorted lines "<name> <size> <sha256 of content>\n" of the files above and of the weights
// (*.safetensors and their index): two folders have the same fingerprint when every byte that matters is the same.
absl::StatusOr<std::string> ModelFingerprint(FileSystem& files, const std::string& folder);

}  // namespace quantd

#endif  // QUANTD_CORE_FORMATS_MODEL_FILES_H_
