#include "core/pipeline/checkpoint_document.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_format.h"
#include "core/base/sha256.h"
#include "core/base/status.h"

namespace quantd {
namespace {

constexpr char kDigest[] = "sha256";

absl::Status Malformed(const std::string& what, absl::string_view problem) {
  return InvalidInput("CHECKPOINT_MALFORMED", absl::StrFormat("%s: %s", what, problem));
}

Json FileJson(const CheckpointFile& file) {
  return {{"path", file.path}, {"size_bytes", file.size_bytes}, {"sha256", file.sha256}};
}

absl::StatusOr<CheckpointFile> ParseFile(const Json& json, const std::string& what) {
  CheckpointFile file;
  ASSIGN_OR_RETURN(file.path, JsonString(json, "path", what));
  ASSIGN_OR_RETURN(const int64_t size_bytes, JsonInt(json, "size_bytes", what));
  if (size_bytes < 0) return Malformed(what, "a file has a negative size");
  file.size_bytes = static_cast<uint64_t>(size_bytes);
  ASSIGN_OR_RETURN(file.sha256, JsonString(json, "sha256", what));
  return file;
}

// `json` without its digest. The digest guards against rot and torn writes; whoever can write the folder can forge it.
absl::Status CheckDigest(Json& json, const std::string& what) {
  ASSIGN_OR_RETURN(const std::string digest, JsonString(json, kDigest, what));
  json.erase(kDigest);
  if (Sha256Hex(JsonText(json)) == digest) return absl::OkStatus();
  return Malformed(what, "its content does not have the digest it names");
}

absl::Status CheckVersion(const Json& json, const std::string& what) {
  ASSIGN_OR_RETURN(const int64_t version, JsonInt(json, "format_version", what));
  if (version == kCheckpointFormatVersion) return absl::OkStatus();
  return Malformed(what,
                   absl::StrFormat("its format version is %d, this program's %d", version, kCheckpointFormatVersion));
}

absl::Status ParseLists(const Json& json, const std::string& what, CheckpointDocument& document) {
  const auto files = json.find("files"), layers = json.find("layers");
  if (files == json.end() || !files->is_array()) return Malformed(what, "it has no list of files");
  if (layers == json.end() || !layers->is_array()) return Malformed(what, "it has no list of layers");
  for (const Json& entry : *files) {
    ASSIGN_OR_RETURN(CheckpointFile file, ParseFile(entry, what));
    document.files.push_back(std::move(file));
  }
  for (const Json& entry : *layers) {
    ASSIGN_OR_RETURN(LayerRecord record, LayerRecordFromJson(entry, what));
    document.layers.push_back(std::move(record));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> ObjectText(const Json& json, absl::string_view key, const std::string& what) {
  const auto member = json.find(std::string(key));
  if (member == json.end() || !member->is_object()) return Malformed(what, absl::StrFormat("it has no '%s'", key));
  return member->dump();
}

absl::StatusOr<CheckpointDocument> Parse(absl::string_view text, const std::string& what) {
  ASSIGN_OR_RETURN(Json json, ParseJson(text, what, kMaxCheckpointDocumentBytes));
  if (!json.is_object()) return Malformed(what, "it is not an object");
  RETURN_IF_ERROR(CheckDigest(json, what));
  RETURN_IF_ERROR(CheckVersion(json, what));
  CheckpointDocument document;
  ASSIGN_OR_RETURN(document.inputs_json, ObjectText(json, "inputs", what));
  ASSIGN_OR_RETURN(document.place_json, ObjectText(json, "place", what));
  ASSIGN_OR_RETURN(document.generation, JsonInt(json, "generation", what));
  ASSIGN_OR_RETURN(document.phase, JsonString(json, "phase", what));
  ASSIGN_OR_RETURN(const int64_t block, JsonInt(json, "block", what));
  document.block = static_cast<int>(block);
  ASSIGN_OR_RETURN(document.work, JsonDoubleOr(json, "work", 0, what));
  RETURN_IF_ERROR(ParseLists(json, what, document));
  return document;
}

}  // namespace

std::string FingerprintOf(const std::string& inputs_json) {
  return Sha256Hex(inputs_json);
}

std::string CheckpointText(const CheckpointDocument& document) {
  Json json = {{"format_version", kCheckpointFormatVersion},
               {"fingerprint", FingerprintOf(document.inputs_json)},
               {"inputs", Json::parse(document.inputs_json)},
               {"generation", document.generation},
               {"phase", document.phase},
               {"block", document.block},
               {"place", Json::parse(document.place_json)},
               {"work", document.work},
               {"files", Json::array()},
               {"layers", Json::array()}};
  for (const CheckpointFile& file : document.files) json["files"].push_back(FileJson(file));
  for (const LayerRecord& layer : document.layers) json["layers"].push_back(layer.ToJson());
  json[kDigest] = Sha256Hex(JsonText(json));
  return JsonText(json);
}

absl::StatusOr<CheckpointDocument> ParseCheckpoint(absl::string_view text, const std::string& what) {
  absl::StatusOr<CheckpointDocument> document = Parse(text, what);
  if (document.ok() || ReasonOf(document.status()) == "CHECKPOINT_MALFORMED") return document;
  return InvalidInput("CHECKPOINT_MALFORMED", document.status().message());
}

}  // namespace quantd
