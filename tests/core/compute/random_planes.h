// Weights as bit planes from random codes and scaling, with their values worked out from the definition.
#ifndef QUANTD_TESTS_CORE_COMPUTE_RANDOM_PLANES_H_
#define QUANTD_TESTS_CORE_COMPUTE_RANDOM_PLANES_H_

#include <cmath>
#include <cstdint>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include "core/compute/binary_planes.h"
#include "core/tensor/dtype.h"
#include "core/tensor/matrix.h"

namespace quantd {

struct RandomPlanes {
  std::unique_ptr<BinaryPlanes> weight;
  Matrix values;      // in f32, in the order that DecodeRows states
  Matrix magnitudes;  // what an input of 1 may contribute at most: scale * (|base| + steps), or |offset| + 3 |alphas|
};

// `layout.scaling` and the rest decide what is drawn: bases -100..100 (or -300..300 when wide), steps 1..255 / planes.
inline RandomPlanes MakeRandomPlanes(const PlanesLayout& layout, uint64_t seed) {
  std::mt19937_64 random(seed);
  const auto between = [&](int64_t low, int64_t high) {
    return low + static_cast<int64_t>(random() % static_cast<uint64_t>(high - low + 1));
  };
  const auto exact_scale = [&](float low, float high) {
    const float value = low + (high - low) * static_cast<float>(random() >> 40) * 0x1p-24f;
    return layout.scale_dtype == Dtype::kF16 ? F16ToF32(F32ToF16(value)) : value;
  };
  const int64_t groups = layout.groups(), planes = layout.planes;
  const bool signs = layout.scaling == PlaneScaling::kSigns;
  BinaryPlanesBuilder builder = BinaryPlanesBuilder::Create(layout).value();
  RandomPlanes result;
  result.values = Matrix(layout.rows, layout.cols);
  result.magnitudes = Matrix(layout.rows, layout.cols);
  std::vector<uint8_t> codes(layout.cols), steps(groups * planes);
  std::vector<float> scales(groups), alphas(groups * planes), offsets(groups);
  std::vector<int16_t> bases(groups);
  for (int64_t r = 0; r < layout.rows; ++r) {
    for (uint8_t& code : codes) code = static_cast<uint8_t>(random() & ((1u << planes) - 1));
    for (float& scale : scales) scale = exact_scale(0.001f, 0.1f);
    for (int16_t& base : bases)
      base = static_cast<int16_t>(layout.wide_bases ? between(-300, 300) : between(-100, 100));
    for (int64_t i = 0; i < groups * planes; ++i) {
      steps[i] = layout.shared_steps.empty() ? static_cast<uint8_t>(between(1, 255 / planes))
                                             : layout.shared_steps[i % planes];
    }
    for (float& alpha : alphas) alpha = exact_scale(-0.2f, 0.5f);
    for (float& offset : offsets) offset = exact_scale(-1, 1);
    builder.SetRow(r, {codes, scales, bases, steps, alphas, offsets});
    for (int64_t i = 0; i < layout.cols; ++i) {
      const int64_t c = layout.column_order.empty() ? i : layout.column_order[i];
      const int64_t g = groups == 1 ? 0 : i / layout.group_size;
      float value = signs ? offsets[g] : bases[g];
      float magnitude = std::abs(value);
      for (int64_t p = 0; p < planes; ++p) {
        const float part = signs ? alphas[g * planes + p] : steps[g * planes + p];
        const bool set = (codes[c] >> p & 1) != 0;
        if (signs) value += set ? part : -part;
        if (!signs && set) value += part;
        magnitude += (signs ? 3 : 1) * std::abs(part);
      }
      result.values.at(r, c) = signs ? value : scales[g] * value;
      result.magnitudes.at(r, c) = signs ? magnitude : scales[g] * magnitude;
    }
  }
  result.weight = std::make_unique<BinaryPlanes>(std::move(builder).Build());
  return result;
}

}  // namespace quantd

#endif  // QUANTD_TESTS_CORE_COMPUTE_RANDOM_PLANES_H_
