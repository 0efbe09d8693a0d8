// The daemon's settings: one table row each. Flags, environment, configuration file, --print-config and
// docs/operations.md all come from it.
//
// Later wins: default < file < environment < flag.
#ifndef QUANTD_SERVER_CONFIG_SETTINGS_H_
#define QUANTD_SERVER_CONFIG_SETTINGS_H_

#include <cstdint>
#include <map>
#include <string>
#include <variant>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace quantd {

struct ServerConfig {
  std::string data_dir = "quantd-data";
  std::string store_dsn;       // empty: SQLite in data_dir
  std::string store_dsn_file;  // empty: none
  int64_t store_connections = 8;
  int64_t store_cache_bytes = int64_t{4} << 20;
  std::string listen = "127.0.0.1:7433";
  std::string http_listen = "127.0.0.1:9433";
  std::string model_root = "models";
  std::string data_root = "data";
  std::string quant;      // empty: beside the daemon's own executable
  std::string port_file;  // empty: none
  int64_t local_workers = 0;
  int64_t worker_threads = 0;
  int64_t lease_ms = 15'000;
  int64_t sweep_ms = 1'000;
  int64_t drain_delay_ms = 1'000;
  int64_t drain_limit_ms = 20'000;
  int64_t plan_timeout_ms = 60'000;
  int64_t max_queued_jobs = 100'000;
  std::string tenants_file;  // empty: none
  int64_t ageing_ms = 600'000;
  int64_t requeue_ms = 5'000;
  int64_t quarantine_ms = 30'000;
  int64_t max_threads = 1'024;
  int64_t watch_patience_ms = 10'000;
  int64_t retention_ms = 60'000;
  int64_t retain_jobs_ms = 0;
  int64_t retain_jobs_per_tenant = 0;
  int64_t retain_artifacts_ms = 0;
  int64_t retain_events_ms = 604'800'000;
  int64_t retain_audit_ms = 0;
  int64_t undelete_window_ms = 604'800'000;
  int64_t orphan_age_ms = 86'400'000;
  std::string artifact_store;  // empty: in data_dir
  std::string s3_endpoint;     // empty: Amazon's of s3_region
  std::string s3_region = "us-east-1";
  bool s3_path_style = false;
  std::string s3_ca_file;            // empty: the system's
  std::string s3_credentials_file;   // empty: from the environment
  std::string model_store_prefixes;  // empty: models come from model_root alone
  std::string model_cache_dir;       // empty: data_dir/model-cache
  int64_t model_cache_bytes = int64_t{100} << 30;
  bool reflection = false;
};

struct Setting {
  const char* name;  // snake_case: key of the file; flag and environment variable follow from it
  std::variant<std::string ServerConfig::*, int64_t ServerConfig::*, bool ServerConfig::*> member;
  int64_t minimum;  // of integers
  int64_t maximum;
  const char* help;  // one line, with the unit
  // How Print shows it; null: as it is.
  std::string (*shown)(absl::string_view text) = nullptr;
};

absl::Span<const Setting> SettingsTable();
const Setting* FindSetting(absl::string_view name);

std::string FlagName(const Setting& setting);         // "--data-dir"
std::string EnvironmentName(const Setting& setting);  // "QUANTD_DATA_DIR"

// A configuration and where each value came from: "default", "file", "environment", "flag".
class ConfigBuilder {
 public:
  // INVALID_ARGUMENT SETTING_INVALID names the setting, the value, the range and the origin.
  absl::Status Set(const Setting& setting, absl::string_view text, absl::string_view origin);
  // A JSON object of settings. SETTING_UNKNOWN for other keys, SETTING_INVALID, and the reasons of ReadJsonFile.
  absl::Status ReadFile(const std::string& path);
  // All variables QUANTD_<NAME>; `find` is getenv.
  absl::Status ReadEnvironment(const char* (*find)(const char* name));

  const ServerConfig& config() const { return config_; }
  // {"settings": what ReadFile reads, "origins": name -> origin}.
  std::string Print() const;

 private:
  ServerConfig config_;
  std::map<std::string, std::string> origins_;  // absent: "default"
};

// The value as Set reads it.
std::string SettingText(const Setting& setting, const ServerConfig& config);

}  // namespace quantd

#endif  // QUANTD_SERVER_CONFIG_SETTINGS_H_
