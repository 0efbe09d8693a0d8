// What a job's result is, what it lost and where: the content of report.json, performance.json and report.html.
//
// report.json holds what depends on inputs, recipe and build alone, so that it can be digested and compared byte for
// byte. performance.json holds what was measured with a clock. report.html shows both.
#ifndef QUANTD_CORE_PIPELINE_REPORT_H_
#define QUANTD_CORE_PIPELINE_REPORT_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/base/json.h"
#include "core/eval/evaluate.h"
#include "core/eval/speed.h"

namespace quantd {

struct ReportModel {
  std::string name;          // as the job named it
  std::string architecture;  // "LlamaForCausalLM"
  std::string sha256;        // fingerprint of the source checkpoint
  int64_t parameters = 0;
  int64_t blocks = 0;
  int64_t hidden_size = 0;
  int64_t vocabulary_size = 0;
};

struct ReportCalibration {
  std::string text;         // name of the file
  std::string text_sha256;  // of its bytes
  int64_t sequences = 0;
  int64_t length = 0;  // tokens a sequence
  uint64_t seed = 0;
  bool bos = false;
};

struct ReportSize {
  int64_t original_bytes = 0;   // tensor bytes of the source checkpoint
  int64_t quantized_bytes = 0;  // tensor bytes of the artifact
  double bits_per_weight = 0;   // stored bits of quantized layers (codes, scales, zeros) a weight
  int64_t quantized_weights = 0;
};

struct ReportEvaluation {
  std::string text;         // name of the file
  std::string text_sha256;  // of its bytes
  std::string protocol;
  int64_t context = 0;  // tokens a window
  std::string token_stream_sha256;
  Comparison comparison;
};

struct ReportSpeed {
  std::string kernel = "dequantized";  // how the quantized weights were multiplied
  Speed original;
  Speed quantized;
  int threads = 1;
  std::string isa;
};

struct ReportLayer {
  std::string name;  // module
  int block = 0;
  std::string scheme;       // "uniform 4 bit g128 asym, optq"
  std::string sensitivity;  // "input, true_sequential=true, sensitivity_accumulation=f64"
  int64_t rows = 0;
  int64_t cols = 0;
  double bits_per_weight = 0;
  double relative_output_error = 0;  // ||X (W - Q)^T|| / ||X W^T||, not squared
  double damping = 0;
  int damping_retries = 0;
  bool nearest_fallback = false;
  bool zero_sensitivity = false;  // the calibration data gave it none: rounded to nearest
  int64_t dead_columns = 0;
  std::optional<double> precision_difference = {};  // of a sensitivity in less than f32: ||H - H_f32|| / ||H_f32||
};

// Multiply-adds, as plans count them.
struct ReportWork {
  double total = 0;     // of the job
  double this_run = 0;  // less than that when it went on from a checkpoint
};

// What keeping checkpoints cost, and what came of them.
struct CheckpointFigures {
  int commits = 0;
  int failures = 0;
  double seconds = 0;
  uint64_t bytes_written = 0;
  uint64_t largest_bytes = 0;   // of one checkpoint, links to the artifact included
  int resumed_from_block = -1;  // -1: this run began at the beginning
  double resumed_from_fraction = 0;
  std::string refused;  // why a checkpoint was not used
};

struct Report {
  std::string preset;
  std::string recipe_json;  // canonical text of the recipe
  ReportModel model;
  ReportSize size;
  std::optional<ReportCalibration> calibration;
  std::optional<ReportEvaluation> evaluation;
  std::vector<ReportLayer> layers;          // quantized ones, in execution order
  std::vector<std::string> skipped_layers;  // left as they were by a rule
  std::vector<std::string> exports;         // "gptq"
  std::map<std::string, int64_t> counters;  // damping_retries, nearest_fallbacks, ...
  std::vector<std::string> warnings;        // sentences
  // Measured with a clock, or otherwise different from run to run.
  std::optional<ReportSpeed> speed;
  std::map<std::string, double> phase_seconds;
  int64_t peak_memory_bytes = 0;  // of this process
  int64_t disk_bytes = 0;         // of the artifact and the largest checkpoint
  ReportWork work;
  std::optional<CheckpointFigures> checkpoint;  // none was kept
};

enum class ReportContent { kDeterministic, kEverything };

// Fields of quantd.v1.QuantReport in protobuf's JSON form (snake_case names) and more. 64-bit integers are numbers; a
// value that is not finite is the string "Infinity", "-Infinity" or "NaN", as protobuf reads it.
Json ReportToJson(const Report& report, ReportContent content);

// What ReportContent::kDeterministic leaves out: speed, phase_seconds, peak_memory_bytes, disk_bytes, work, checkpoint.
Json PerformanceToJson(const Report& report);

// The result in one sentence: "3.9x smaller, perplexity 56.83 -> 57.91 (+1.9 % +- 0.3 %)".
std::string Verdict(const Report& report);

// One page that needs nothing else: inline style and SVG, no script, light and dark, readable on a phone.
std::string ReportHtml(const Report& report);

}  // namespace quantd

#endif  // QUANTD_CORE_PIPELINE_REPORT_H_
