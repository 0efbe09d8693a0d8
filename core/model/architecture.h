// Everything quantd knows about one family of models, as data: names of tensors and of config.json's keys, kinds of
// norm, positions and activation. A new family made of known parts is one more row in families.cc and a fixture in
// tests/data/arch/.
#ifndef QUANTD_CORE_MODEL_ARCHITECTURE_H_
#define QUANTD_CORE_MODEL_ARCHITECTURE_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace quantd {

struct ModelConfig;  // core/model/model_config.h

enum class NormKind { kRms, kLayer };
enum class Activation { kSilu, kRelu, kGeluTanh, kGeluErf };
enum class PositionKind { kRotary, kLearned, kAlibi };

// How q, k and v lie in the rows of one stored matrix.
enum class QkvLayout {
  kSeparate,  // three matrices
  kPerHead,   // [head][q, k, v][head size] (bloom, gpt_neox)
  kStacked,   // all heads of q, then of k, then of v (phi3)
};

// What a linear of a block does. Blocks list their linears in execution order.
// kFusedGateUp: the rows of the gate, then those of up.
enum class Role { kQuery, kKey, kValue, kFusedQkv, kAttentionOut, kGate, kUp, kFusedGateUp, kDown };

// Sizes a tensor dimension may have; ModelConfig gives the numbers.
enum class Dim { kHidden, kHeads, kKvHeads, kFusedHeads, kIntermediate, kFusedIntermediate };

// When a linear has a bias.
enum class BiasRule { kNever, kAlways, kAttentionBias, kMlpBias };

struct LinearDescriptor {
  Role role;
  const char* name;  // module, within the block
  Dim rows;
  Dim cols;
  BiasRule bias;
  int input_group;
  const char* scheme_group;
  const char* norm;  // module within the block that feeds it (pre-norm models); "" for none
};

// Norms of a block by what they do.
enum class NormRole { kAttention, kMlp, kQueryHead, kKeyHead };
inline constexpr int kNormRoleCount = 4;

struct NormDescriptor {
  NormRole role;
  const char* name;
};

// Names of config.json keys, where families differ. "": the family has no such key and the default holds.
struct ConfigKeys {
  const char* hidden_size = "hidden_size";
  const char* intermediate_size = "intermediate_size";  // "": 4 * hidden_size
  const char* blocks = "num_hidden_layers";
  const char* heads = "num_attention_heads";
  const char* kv_heads = "num_key_value_heads";     // "": as many as heads
  const char* context = "max_position_embeddings";  // "": no limit
  const char* embedding_size = "";                  // "": hidden_size
  const char* norm_epsilon = "rms_norm_eps";        // "": the default
  const char* activation = "hidden_act";            // "": fixed
  const char* rotary_base = "rope_theta";
  const char* rotary_share = "";  // share of a head's entries that are rotated; "": all
  const char* sliding_window = "";
};

// Another spelling of a size's key.
struct KeyAlias {
  const char* key;  // as in ConfigKeys
  const char* other;
};

// A boolean of config.json and what it sets; `inverted`: to its opposite.
struct ConfigSwitch {
  const char* key;
  bool fallback;
  bool ModelConfig::*target;
  bool inverted = false;
};

// A boolean of config.json whose other value is not supported.
struct RequiredSwitch {
  const char* key;
  bool value;  // also when absent
};

struct Architecture {
  const char* name;        // as config.json's "architectures" spells it
  const char* model_type;  // as config.json's "model_type" spells it
  ConfigKeys keys;
  absl::Span<const KeyAlias> aliases = {};
  NormKind norm;
  PositionKind position;
  QkvLayout qkv = QkvLayout::kSeparate;
  // Activation names that config.json may give, each with its meaning; the first is the default.
  struct ActivationName {
    const char* name;
    Activation activation;
  };
  absl::Span<const ActivationName> activations;
  absl::Span<const LinearDescriptor> linears;
  absl::Span<const NormDescriptor> norms;
  absl::Span<const ConfigSwitch> switches = {};
  absl::Span<const RequiredSwitch> required = {};
  // Tensor names. The prefix stands before all of them and may be missing from the files when `prefix_optional`.
  const char* prefix;
  bool prefix_optional = false;
  const char* block_prefix;  // within the prefix, %d is the block
  const char* embedding;
  const char* final_norm;
  const char* head = "lm_head";  // without prefix
  const char* positions = "";    // learned positions
  int position_offset = 0;       // row of position 0
  const char* embedding_norm = "";
  const char* project_in = "";
  const char* project_out = "";
  // Buffers that older files carry and that are no weights: the ends of their names, from a module's name on.
  absl::Span<const char* const> ignored_suffixes = {};
  bool tied_by_default = false;
  bool head_size_free = false;         // head_dim may differ from hidden / heads
  int64_t default_sliding_window = 0;  // when the key is absent; null always means none
  int64_t default_kv_heads = 0;        // 0: as many as heads
  double default_norm_epsilon = 1e-6;
  double default_rotary_base = 10000;
  double default_rotary_share = 1;

  // nullptr: the family has no such linear.
  const LinearDescriptor* Find(Role role) const;
  bool HasNorm(NormRole role) const;
};

// All families, for messages and tests.
absl::Span<const Architecture* const> KnownArchitectures();

// By model_type, else by name. ARCHITECTURE_UNKNOWN lists the known ones.
absl::StatusOr<const Architecture*> FindArchitecture(absl::string_view model_type, absl::string_view name,
                                                     absl::string_view source);

}  // namespace quantd

#endif  // QUANTD_CORE_MODEL_ARCHITECTURE_H_
