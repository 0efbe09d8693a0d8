// Everything quantd knows about one family of models, as data: names of tensors, kinds of norm, positions and
// activation. A new family made of known parts is one more descriptor in architecture.cc and a fixture in
// tests/data/arch/.
#ifndef QUANTD_CORE_MODEL_ARCHITECTURE_H_
#define QUANTD_CORE_MODEL_ARCHITECTURE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace quantd {

enum class NormKind { kRms, kLayer };
enum class Activation { kSilu, kRelu, kGeluTanh, kGeluErf };
enum class PositionKind { kRotary, kLearned, kAlibi };

// How q, k and v lie in the rows of one stored matrix.
enum class QkvLayout {
  kSeparate,  // three matrices
  kPerHead,   // [head][q, k, v][head size] (bloom)
};

// What a linear of a block does. Blocks list their linears in execution order.
enum class Role { kQuery, kKey, kValue, kFusedQkv, kAttentionOut, kGate, kUp, kDown };
inline constexpr int kRoleCount = 8;

// Sizes a tensor dimension may have; ModelConfig gives the numbers.
enum class Dim { kHidden, kHeads, kKvHeads, kFusedHeads, kIntermediate };

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

// Names of config.json keys, where families differ. "" : the family has no such key and the default holds.
struct ConfigKeys {
  const char* hidden_size = "hidden_size";
  const char* intermediate_size = "intermediate_size";  // "" : 4 * hidden_size
  const char* blocks = "num_hidden_layers";
  const char* heads = "num_attention_heads";
  const char* kv_heads = "num_key_value_heads";     // "" : as many as heads
  const char* context = "max_position_embeddings";  // "" : no limit
  const char* norm_epsilon = "rms_norm_eps";        // "" : the default
  const char* activation = "hidden_act";            // "" : fixed
};

struct Architecture {
  const char* name;        // as config.json's "architectures" spells it
  const char* model_type;  // as config.json's "model_type" spells it
  ConfigKeys keys;
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
  // Buffers that older files carry and that are no weights: suffixes of names.
  absl::Span<const char* const> ignored_suffixes = {};
  bool tied_by_default = false;
  bool head_size_free = false;  // head_dim may differ from hidden / heads
  bool sliding_window_by_default = false;
  int64_t default_sliding_window = 0;
  int64_t default_kv_heads = 0;  // 0: as many as heads
  double default_norm_epsilon = 1e-6;
  double default_rotary_base = 10000;

  bool gated() const;  // has a gate beside up
  const LinearDescriptor* Find(Role role) const;
};

// All families, for messages and tests.
absl::Span<const Architecture* const> KnownArchitectures();

// By model_type, else by name. ARCHITECTURE_UNKNOWN lists the known ones.
absl::StatusOr<const Architecture*> FindArchitecture(absl::string_view model_type, absl::string_view name,
                                                     absl::string_view source);

}  // namespace quantd

#endif  // QUANTD_CORE_MODEL_ARCHITECTURE_H_
