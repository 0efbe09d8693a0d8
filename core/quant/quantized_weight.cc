#include "core/quant/quantized_weight.h"

#include "absl/strings/str_format.h"
#include "core/base/status.h"
#include "core/quant/grid.h"
#include "core/quant/name_suggestion.h"

namespace quantd {

Matrix QuantizedWeight::Decode() const {
  Matrix decoded(rows(), cols());
  DecodeRows(0, decoded.view());
  return decoded;
}

std::optional<BinaryPlanes> QuantizedWeight::ToPlanes() const {
  std::optional<PlanesLayout> layout = RunLayout();
  if (!layout.has_value()) return std::nullopt;
  absl::StatusOr<BinaryPlanesBuilder> builder = BinaryPlanesBuilder::Create(*std::move(layout));
  if (!builder.ok()) return std::nullopt;
  FillPlanes(*builder);
  return std::move(*builder).Build();
}

uint64_t QuantizedWeight::StoredBytes() const {
  uint64_t bytes = 0;
  for (const StoredTensor& tensor : ToTensors()) bytes += tensor.bytes.size();
  return bytes;
}

double QuantizedWeight::BitsPerWeight() const {
  return 8.0 * static_cast<double>(StoredBytes()) / (static_cast<double>(rows()) * static_cast<double>(cols()));
}

absl::StatusOr<std::unique_ptr<QuantizedWeight>> QuantizedWeightFromTensors(const std::string& kind,
                                                                            const Json& description,
                                                                            std::vector<StoredTensor> tensors,
                                                                            int64_t rows, int64_t cols,
                                                                            const std::string& what) {
  std::vector<std::string> known;
  for (const GridChoice& choice : GridChoices()) {
    if (kind == choice.info.name) return choice.read({description, std::move(tensors), rows, cols, what});
    known.emplace_back(choice.info.name);
  }
  return InvalidInput("ARTIFACT_GRID_UNKNOWN",
                      absl::StrFormat("%s: grid '%s' is not one this version reads (%s); use a newer version", what,
                                      kind.substr(0, 64), KnownNames(known, kind)));
}

}  // namespace quantd
