#include "server/config/settings.h"

#include <nlohmann/json.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "core/base/json.h"
#include "core/base/status.h"
#include "server/store/postgres_dsn.h"

namespace quantd {
namespace {

using C = ServerConfig;
constexpr int64_t kDayMs = 86'400'000;
constexpr int64_t kLongestMs = 3650 * kDayMs;

const Setting kTable[] = {
    {"data_dir", &C::data_dir, 0, 0, "Folder of the job database, artifacts and staged uploads; one daemon at a time"},
    {"store_dsn", &C::store_dsn, 0, 0,
     "PostgreSQL that keeps the jobs, for several servers: postgresql://USER@HOST/DATABASE; empty: SQLite in data_dir",
     &HiddenDsn},
    {"store_dsn_file", &C::store_dsn_file, 0, 0, "File with the store_dsn, for one with a password; empty: none"},
    {"store_connections", &C::store_connections, 2, 256, "Connections to PostgreSQL at most; one more listens"},
    {"store_cache_bytes", &C::store_cache_bytes, 1 << 20, int64_t{1} << 40,
     "Bytes of the SQLite file that are kept in memory at most"},
    {"listen", &C::listen, 0, 0, "HOST:PORT of the gRPC API; port 0 takes a free one"},
    {"http_listen", &C::http_listen, 0, 0,
     "HOST:PORT of /metrics, /livez, /readyz and /retention; port 0 takes a free one"},
    {"model_root", &C::model_root, 0, 0, "Folder that jobs name models in"},
    {"data_root", &C::data_root, 0, 0, "Folder that jobs name texts in"},
    {"quant", &C::quant, 0, 0, "The program `quant` that checks jobs; empty: beside this executable"},
    {"port_file", &C::port_file, 0, 0, "File to write the addresses to when ready, as JSON; empty: none"},
    {"local_workers", &C::local_workers, 0, 256, "Worker processes to run beside the daemon"},
    {"worker_threads", &C::worker_threads, 0, 1024, "Threads of each local worker; 0: cores divided by workers"},
    {"lease_ms", &C::lease_ms, 100, kDayMs, "Time in ms after which a silent worker loses its jobs"},
    {"sweep_ms", &C::sweep_ms, 10, 3'600'000, "Time in ms between two looks for expired leases"},
    {"drain_delay_ms", &C::drain_delay_ms, 0, 3'600'000,
     "Time in ms from SIGTERM, when readiness ends, to the refusal of new jobs"},
    {"drain_limit_ms", &C::drain_limit_ms, 0, 3'600'000, "Time in ms that calls and local workers get to end"},
    {"plan_timeout_ms", &C::plan_timeout_ms, 100, 3'600'000,
     "Time in ms that checking a job may take, and before that wait for its turn"},
    {"max_queued_jobs", &C::max_queued_jobs, 0, 1'000'000'000,
     "Queued jobs beyond which new ones are refused; 0: no limit"},
    {"tenants_file", &C::tenants_file, 0, 0, "JSON file of tenants' weights and limits; empty: all alike"},
    {"ageing_ms", &C::ageing_ms, 0, kDayMs, "Time in ms of waiting that is worth one step of priority"},
    {"requeue_ms", &C::requeue_ms, 0, 3'600'000,
     "Pause in ms after the first crash of a job; 6 and 24 times that after the next ones"},
    {"quarantine_ms", &C::quarantine_ms, 0, 3'600'000,
     "Time in ms without jobs for a worker whose children crash on job after job, doubled each time"},
    {"max_threads", &C::max_threads, 16, 65'536, "Threads for calls, of which each waiting worker takes one"},
    {"watch_patience_ms", &C::watch_patience_ms, 100, 3'600'000,
     "Time in ms after which a watcher that does not read is cut off"},
    {"retention_ms", &C::retention_ms, 100, kDayMs, "Time in ms between two looks for what may be removed"},
    {"retain_jobs_ms", &C::retain_jobs_ms, 0, kLongestMs, "Time in ms from a job's end to its deletion; 0: never"},
    {"retain_jobs_per_tenant", &C::retain_jobs_per_tenant, 0, 1'000'000'000,
     "Ended jobs of a tenant that are kept, the newest; 0: all"},
    {"retain_artifacts_ms", &C::retain_artifacts_ms, 0, kLongestMs,
     "Time in ms from the publication of an artifact to its removal; 0: never"},
    {"retain_events_ms", &C::retain_events_ms, 0, kLongestMs,
     "Time in ms that a watch can be resumed after; 0: for ever"},
    {"retain_audit_ms", &C::retain_audit_ms, 0, kLongestMs,
     "Time in ms that the records of who changed what are kept; 0: for ever"},
    {"undelete_window_ms", &C::undelete_window_ms, 0, kLongestMs,
     "Time in ms from a job's deletion to its removal, in which it can be undeleted"},
    {"orphan_age_ms", &C::orphan_age_ms, 0, kLongestMs,
     "Time in ms after which a stored file that no job names is removed"},
    {"artifact_store", &C::artifact_store, 0, 0,
     "Where artifacts and checkpoints are kept: s3://BUCKET/PREFIX, or a folder that all servers see; empty: in "
     "data_dir"},
    {"s3_endpoint", &C::s3_endpoint, 0, 0, "http[s]://HOST[:PORT] of the object store; empty: Amazon's of s3_region"},
    {"s3_region", &C::s3_region, 0, 0, "Region that requests to the object store are signed for"},
    {"s3_path_style", &C::s3_path_style, 0, 0, "Name the bucket in the path instead of the host (true or false)"},
    {"s3_ca_file", &C::s3_ca_file, 0, 0,
     "PEM file of the authorities that the object store is trusted by; empty: the system's"},
    {"s3_credentials_file", &C::s3_credentials_file, 0, 0,
     "Credentials in the form of ~/.aws/credentials; empty: AWS_ACCESS_KEY_ID and so on from the environment"},
    {"model_store_prefixes", &C::model_store_prefixes, 0, 0,
     "s3://BUCKET/PREFIX, separated by commas, below which jobs may name models; empty: none"},
    {"model_cache_dir", &C::model_cache_dir, 0, 0,
     "Folder for models of object stores; empty: model-cache in data_dir"},
    {"model_cache_bytes", &C::model_cache_bytes, 0, int64_t{1} << 50, "Bytes that the model cache may hold"},
    {"reflection", &C::reflection, 0, 0, "Serve gRPC reflection (true or false)"},
};

std::string Shown(const Setting& setting, const std::string& text) {
  return setting.shown == nullptr ? text : setting.shown(text);
}

absl::Status Invalid(const Setting& setting, absl::string_view text, absl::string_view origin,
                     absl::string_view wanted) {
  return WithField(InvalidInput("SETTING_INVALID", absl::StrFormat("%s (from %s) is '%s'; it must be %s", setting.name,
                                                                   origin, text, wanted)),
                   setting.name);
}

absl::Status SetInteger(const Setting& setting, absl::string_view text, absl::string_view origin, int64_t* value) {
  int64_t parsed = 0;
  if (absl::SimpleAtoi(text, &parsed) && parsed >= setting.minimum && parsed <= setting.maximum) {
    *value = parsed;
    return absl::OkStatus();
  }
  return Invalid(setting, text, origin, absl::StrFormat("an integer, %d to %d", setting.minimum, setting.maximum));
}

absl::Status SetBool(const Setting& setting, absl::string_view text, absl::string_view origin, bool* value) {
  if (text != "true" && text != "false") return Invalid(setting, text, origin, "true or false");
  *value = text == "true";
  return absl::OkStatus();
}

}  // namespace

absl::Span<const Setting> SettingsTable() {
  return kTable;
}

const Setting* FindSetting(absl::string_view name) {
  for (const Setting& setting : kTable) {
    if (name == setting.name) return &setting;
  }
  return nullptr;
}

std::string FlagName(const Setting& setting) {
  return absl::StrCat("--", absl::StrReplaceAll(setting.name, {{"_", "-"}}));
}

std::string EnvironmentName(const Setting& setting) {
  return absl::StrCat("QUANTD_", absl::AsciiStrToUpper(setting.name));
}

std::string SettingText(const Setting& setting, const ServerConfig& config) {
  if (const auto* text = std::get_if<std::string C::*>(&setting.member)) return config.**text;
  if (const auto* integer = std::get_if<int64_t C::*>(&setting.member)) return absl::StrCat(config.**integer);
  return config.*std::get<bool C::*>(setting.member) ? "true" : "false";
}

absl::Status ConfigBuilder::Set(const Setting& setting, absl::string_view text, absl::string_view origin) {
  if (const auto* member = std::get_if<std::string C::*>(&setting.member)) {
    config_.** member = std::string(text);
  } else if (const auto* integer = std::get_if<int64_t C::*>(&setting.member)) {
    RETURN_IF_ERROR(SetInteger(setting, text, origin, &(config_.**integer)));
  } else {
    RETURN_IF_ERROR(SetBool(setting, text, origin, &(config_.*std::get<bool C::*>(setting.member))));
  }
  origins_[setting.name] = std::string(origin);
  return absl::OkStatus();
}

absl::Status ConfigBuilder::ReadFile(const std::string& path) {
  ASSIGN_OR_RETURN(const Json json, ReadJsonFile(path));
  if (!json.is_object()) return InvalidInput("SETTING_INVALID", absl::StrCat(path, ": must be one JSON object"));
  for (const auto& [key, value] : json.items()) {
    const Setting* setting = FindSetting(key);
    if (setting == nullptr) {
      return InvalidInput("SETTING_UNKNOWN",
                          absl::StrFormat("%s: '%s' is no setting; quantd --help lists them", path, key));
    }
    const std::string text = value.is_string() ? value.get<std::string>() : value.dump();
    RETURN_IF_ERROR(WithContext(Set(*setting, text, "file"), path));
  }
  return absl::OkStatus();
}

absl::Status ConfigBuilder::ReadEnvironment(const char* (*find)(const char* name)) {
  for (const Setting& setting : kTable) {
    if (const char* text = find(EnvironmentName(setting).c_str()); text != nullptr) {
      RETURN_IF_ERROR(Set(setting, text, "environment"));
    }
  }
  return absl::OkStatus();
}

std::string ConfigBuilder::Print() const {
  Json values = Json::object();
  Json origins = Json::object();
  for (const Setting& setting : kTable) {
    const std::string text = Shown(setting, SettingText(setting, config_));
    const bool is_text = std::holds_alternative<std::string C::*>(setting.member);
    values[setting.name] = is_text ? Json(text) : Json::parse(text);
    const auto origin = origins_.find(setting.name);
    origins[setting.name] = origin == origins_.end() ? "default" : origin->second;
  }
  return JsonText({{"settings", values}, {"origins", origins}});
}

}  // namespace quantd
