#include "core/objects/model_place.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/excerpt.h"
#include "core/base/status.h"

namespace quantd {

absl::StatusOr<ModelPlace> LocateModel(const std::string& model, const ModelSource& source, ModelExtent extent,
                                       const StopRequested& stop) {
  if (!IsS3Uri(model)) return ModelPlace{.root = source.root, .name = model};
  if (source.cache == nullptr) {
    return ReasonError(absl::StatusCode::kPermissionDenied, "MODEL_SOURCE_REFUSED",
                       absl::StrCat("models may not come from object stores here, so not from ", Excerpt(model, 200),
                                    "; model_store_prefixes (of worker: --model-store-prefixes) allows them"));
  }
  ASSIGN_OR_RETURN(CachedModel kept, source.cache->Fetch(model, extent, stop));
  ModelPlace place = {.root = source.cache->models_folder(), .name = kept.digest()};
  place.kept = std::move(kept);
  return place;
}

}  // namespace quantd
