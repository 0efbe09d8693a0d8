#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <filesystem>
#include <map>
#include <mutex>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/clock.h"
#include "core/base/file_system.h"
#include "core/base/sha256.h"
#include "core/base/status.h"
#include "server/errors/text_limits.h"
#include "server/planner/planner.h"
#include "server/planner/quant_output.h"

namespace quantd {
namespace {

constexpr size_t kMaxCachedPlans = 256;
constexpr absl::Duration kCatalogueTimeout = absl::Seconds(30);

// Name, size and time of a file, or of the files of a folder: changes when one of them does.
void AppendFingerprint(const std::filesystem::path& path, std::string& out) {
  std::error_code error;
  const auto append = [&](const std::filesystem::path& file) {
    const auto size = std::filesystem::file_size(file, error);
    const auto time = std::filesystem::last_write_time(file, error).time_since_epoch().count();
    absl::StrAppend(&out, file.string(), "|", static_cast<uint64_t>(size), "|", static_cast<int64_t>(time), "\n");
  };
  append(path);
  for (std::filesystem::directory_iterator it(path, error), end; !error && it != end; it.increment(error)) {
    append(it->path());
  }
}

// Finished plans by key, the oldest dropped first. Thread-safe.
class PlanCache {
 public:
  bool Find(const std::string& key, v1::JobEstimate* estimate) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = plans_.find(key);
    if (found == plans_.end()) return false;
    *estimate = found->second;
    return true;
  }
  void Put(const std::string& key, const v1::JobEstimate& estimate) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!plans_.emplace(key, estimate).second) return;
    order_.push_back(key);
    if (order_.size() <= kMaxCachedPlans) return;
    plans_.erase(order_.front());
    order_.pop_front();
  }

 private:
  std::mutex mutex_;
  std::map<std::string, v1::JobEstimate> plans_;  // guarded by mutex_
  std::deque<std::string> order_;                 // guarded by mutex_
};

// At most so many at once.
class Slots {
 public:
  explicit Slots(int count) : free_(count) {}
  bool Take(absl::Duration patience) {
    std::unique_lock<std::mutex> lock(mutex_);
    if (!changed_.wait_for(lock, absl::ToChronoNanoseconds(patience), [&] { return free_ > 0; })) return false;
    --free_;
    return true;
  }
  void Release() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      ++free_;
    }
    changed_.notify_one();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int free_;  // guarded by mutex_
};

class QuantPlanner : public Planner {
 public:
  QuantPlanner(PlannerOptions options, CommandRunner& runner)
      : options_(std::move(options)), runner_(runner), slots_(options_.max_processes) {}

  absl::StatusOr<v1::JobEstimate> Plan(const v1::QuantJobSpec& spec, absl::Time deadline) override {
    ASSIGN_OR_RETURN(const ModelPlace model, Locate(spec, deadline));
    v1::QuantJobSpec asked = spec;
    asked.set_model(model.name);
    // What no plan depends on.
    asked.clear_labels();
    asked.clear_priority();
    asked.clear_queue_timeout_ms();
    asked.clear_run_timeout_ms();
    asked.clear_max_attempts();
    const std::string json = SpecJson(asked);
    const std::string key = CacheKey(asked, json, model.root);
    v1::JobEstimate estimate;
    if (cache_.Find(key, &estimate)) return estimate;
    const absl::Duration patience = std::min(deadline - RealClock().Now(), options_.timeout);
    if (!slots_.Take(patience)) return Busy(patience);
    const absl::Cleanup release = [this] { slots_.Release(); };
    const absl::Duration limit = std::min(deadline - RealClock().Now(), options_.timeout);
    ASSIGN_OR_RETURN(const CommandResult result, RunPlan(json, model.root, limit));
    if (result.timed_out) return TimedOut(spec, limit);
    RETURN_IF_ERROR(ReadQuantOutput(result, &estimate));
    cache_.Put(key, estimate);
    return estimate;
  }

 private:
  // Of a model in an object store only the outline is fetched: `quant plan` reads no weights.
  absl::StatusOr<ModelPlace> Locate(const v1::QuantJobSpec& spec, absl::Time deadline) const {
    const absl::Time now = RealClock().Now();
    const absl::Duration limit = std::min(deadline - now, options_.timeout);
    const auto late = [end = now + limit] { return RealClock().Now() >= end; };
    absl::StatusOr<ModelPlace> place = LocateModel(spec.model(), options_.models, ModelExtent::kOutline, late);
    if (place.ok()) return place;
    if (absl::IsCancelled(place.status())) return TimedOut(spec, limit);
    return WithField(place.status(), "spec.model");
  }

  std::string CacheKey(const v1::QuantJobSpec& spec, const std::string& json, const std::string& model_root) const {
    std::string key = json;
    AppendFingerprint(JoinPath(model_root, spec.model()), key);
    AppendFingerprint(JoinPath(options_.data_root, spec.calibration().file()), key);
    AppendFingerprint(JoinPath(options_.data_root, spec.evaluation().file()), key);
    return Sha256Hex(key);
  }

  absl::StatusOr<CommandResult> RunPlan(const std::string& json, const std::string& model_root, absl::Duration limit) {
    RETURN_IF_ERROR(RealFileSystem().CreateDirectories(options_.scratch_dir));
    const std::string path = JoinPath(options_.scratch_dir, absl::StrFormat("plan-%d.json", ++files_));
    ASSIGN_OR_RETURN(const auto file, RealFileSystem().OpenForWrite(path));
    RETURN_IF_ERROR(file->Append(json));
    RETURN_IF_ERROR(file->Close());
    auto result = runner_.Run({options_.quant_path, "plan", "--job", path, "--model-root", model_root, "--data-root",
                               options_.data_root, "--json"},
                              limit);
    (void)RealFileSystem().RemoveFile(path);
    return result;
  }

  absl::Status Busy(absl::Duration patience) const {
    return ReasonError(
        absl::StatusCode::kDeadlineExceeded, "PLANNER_BUSY",
        absl::StrFormat("the job was not checked: it waited %s for one of %d planner processes, which had others to "
                        "check; submit it again when fewer jobs are submitted at once",
                        Described(patience), options_.max_processes));
  }

  absl::Status TimedOut(const v1::QuantJobSpec& spec, absl::Duration limit) const {
    return ReasonError(absl::StatusCode::kDeadlineExceeded, "PLAN_TIMED_OUT",
                       absl::StrFormat("checking the job against model '%s' took longer than %s; allow it more "
                                       "time, or find out why its files are slow to read",
                                       KeepBeginning(spec.model(), 200), Described(limit)));
  }

  // A limit and where it comes from.
  std::string Described(absl::Duration limit) const {
    const int64_t limit_ms = std::max<int64_t>(absl::ToInt64Milliseconds(limit), 0);
    const int64_t timeout_ms = absl::ToInt64Milliseconds(options_.timeout);
    if (limit >= options_.timeout) return absl::StrFormat("plan_timeout_ms = %d ms", timeout_ms);
    return absl::StrFormat("the %d ms until the call's deadline (plan_timeout_ms = %d)", limit_ms, timeout_ms);
  }

  const PlannerOptions options_;
  CommandRunner& runner_;
  PlanCache cache_;
  Slots slots_;
  std::atomic<int64_t> files_{0};
};

absl::Status QuantMissing(const std::string& quant_path, absl::string_view why) {
  return ReasonError(absl::StatusCode::kFailedPrecondition, "QUANT_MISSING",
                     absl::StrFormat("%s does not work: %s; build it, or name another with --quant", quant_path, why));
}

}  // namespace

std::unique_ptr<Planner> NewQuantPlanner(PlannerOptions options, CommandRunner& runner) {
  return std::make_unique<QuantPlanner>(std::move(options), runner);
}

absl::StatusOr<v1::ListRecipesResponse> LoadCatalogue(const std::string& quant_path, CommandRunner& runner) {
  const auto result = runner.Run({quant_path, "recipes", "--json"}, kCatalogueTimeout);
  if (!result.ok()) return QuantMissing(quant_path, result.status().message());
  v1::ListRecipesResponse catalogue;
  if (const absl::Status status = ReadQuantOutput(*result, &catalogue); !status.ok()) {
    return QuantMissing(quant_path, status.message());
  }
  if (catalogue.presets().empty()) return QuantMissing(quant_path, "its catalogue has no preset");
  return catalogue;
}

}  // namespace quantd
