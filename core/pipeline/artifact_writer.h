// Writes an artifact folder as a stream: one safetensors shard a block, as soon as the block is quantized, and one for
// the rest. docs/formats/artifact.md has the layout. Bytes depend on inputs, recipe and build alone.
#ifndef QUANTD_CORE_PIPELINE_ARTIFACT_WRITER_H_
#define QUANTD_CORE_PIPELINE_ARTIFACT_WRITER_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "core/base/file_system.h"
#include "core/formats/manifest.h"
#include "core/formats/safetensors.h"
#include "core/model/transformer.h"
#include "core/pipeline/layer_record.h"
#include "core/pipeline/quantize_model.h"

namespace quantd {

class ArtifactWriter {
 public:
  // `folder` exists and is empty.
  ArtifactWriter(FileSystem& files, std::string folder, const Transformer& model);

  // Blocks in order: the packed tensors of its quantized sites, then its other tensors as stored in the source.
  // `layers` are the records of `sites`.
  absl::Status AddBlock(int block, const std::vector<QuantizedSite>& sites, const std::vector<LayerRecord>& layers);
  // The same for a block whose shard, written by an earlier run, is in place already. The reasons of SafetensorsFile.
  absl::Status RestoreBlock(int block, const std::vector<LayerRecord>& layers);
  // Embeddings, norms, head; then the index and the files copied from `source_folder`.
  absl::Status Finish(const std::string& source_folder);

  std::string ShardPath(int block) const;
  // Sites and their shards, for the manifest.
  const std::vector<ManifestSite>& sites() const { return sites_; }
  // Tensor bytes written so far.
  uint64_t tensor_bytes() const { return tensor_bytes_; }

 private:
  std::string ShardName(int index) const;
  // Names of the source's tensors of a block (-1: of none) that are not replaced by packed ones.
  std::vector<std::string> DenseNames(int block) const;
  struct Tensor {
    TensorSpec spec;
    std::string_view bytes;
  };
  absl::Status AddDense(const std::vector<std::string>& names, std::vector<Tensor>& tensors) const;
  absl::Status WriteShard(int index, std::vector<Tensor> tensors);

  FileSystem& files_;
  std::string folder_;
  const Transformer& model_;
  std::vector<ManifestSite> sites_;
  std::vector<std::pair<std::string, std::string>> index_;  // tensor, shard
  uint64_t tensor_bytes_ = 0;
};

}  // namespace quantd

#endif  // QUANTD_CORE_PIPELINE_ARTIFACT_WRITER_H_
