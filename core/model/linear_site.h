// One weight matrix that can be quantized, with its place in the model.
#ifndef QUANTD_CORE_MODEL_LINEAR_SITE_H_
#define QUANTD_CORE_MODEL_LINEAR_SITE_H_

#include <cstdint>
#include <string>

namespace quantd {

struct LinearSite {
  std::string name;  // module, e.g. "model.layers.0.self_attn.q_proj"; the tensor is name + ".weight", [rows, cols]
  int block = 0;
  int index = 0;     // within the block, in execution order
  int64_t rows = 0;  // outputs
  int64_t cols = 0;  // inputs
  // Sites of one block that multiply the same input share this number; numbers grow in execution order.
  int input_group = 0;
  // Sites that runtimes fuse and that must share one scheme: "qkv", "gate_up"; "" for none.
  std::string scheme_group = {};
  // The norm whose output this site multiplies, e.g. "model.layers.0.input_layernorm"; "" when it is not fed by one.
  std::string norm = {};
};

}  // namespace quantd

#endif  // QUANTD_CORE_MODEL_LINEAR_SITE_H_
