// Where a job's model is on this machine: below the root that jobs name models in, or, for s3://..., in the cache.
#ifndef QUANTD_CORE_OBJECTS_MODEL_PLACE_H_
#define QUANTD_CORE_OBJECTS_MODEL_PLACE_H_

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "core/objects/model_cache.h"

namespace quantd {

struct ModelSource {
  std::string root = {};
  ModelCache* cache = nullptr;  // null: nothing may come from object stores
};

struct ModelPlace {
  std::string root;
  std::string name;                      // below `root`
  std::optional<CachedModel> kept = {};  // keep it as long as the model is read
};

// Does not look at models below the root. PERMISSION_DENIED MODEL_SOURCE_REFUSED, and the reasons of ModelCache::Fetch.
absl::StatusOr<ModelPlace> LocateModel(const std::string& model, const ModelSource& source, ModelExtent extent,
                                       const StopRequested& stop);

}  // namespace quantd

#endif  // QUANTD_CORE_OBJECTS_MODEL_PLACE_H_
