// checkpoint.json: docs/formats/checkpoint.md.
#ifndef QUANTD_CORE_PIPELINE_CHECKPOINT_DOCUMENT_H_
#define QUANTD_CORE_PIPELINE_CHECKPOINT_DOCUMENT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/pipeline/layer_record.h"

namespace quantd {

inline constexpr int64_t kCheckpointFormatVersion = 1;
inline constexpr char kCheckpointFileName[] = "checkpoint.json";
inline constexpr uint64_t kMaxCheckpointDocumentBytes = 256u << 20;  // some hundred thousand layers

struct CheckpointFile {
  std::string path;  // a name in the folder
  uint64_t size_bytes = 0;
  std::string sha256;
};

struct CheckpointDocument {
  std::string inputs_json = "{}";  // an object of texts: everything that decides bytes
  int64_t generation = 0;          // commits of the job so far
  std::string phase;               // quantize, evaluate
  int block = 0;                   // finished blocks
  std::string place_json = "{}";   // where in the phase, an object
  double work = 0;                 // multiply-adds done
  std::vector<CheckpointFile> files;
  std::vector<LayerRecord> layers;  // done, those of an unfinished block last
};

// SHA-256 of the canonical text of the inputs.
std::string FingerprintOf(const std::string& inputs_json);

// A document that ends in its own digest, and back. CHECKPOINT_MALFORMED.
std::string CheckpointText(const CheckpointDocument& document);
absl::StatusOr<CheckpointDocument> ParseCheckpoint(absl::string_view text, const std::string& what);

}  // namespace quantd

#endif  // QUANTD_CORE_PIPELINE_CHECKPOINT_DOCUMENT_H_
