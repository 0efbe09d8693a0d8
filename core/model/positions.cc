#include "core/model/positions.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/compute/vector_kernels.h"
#include "core/model/layer_ops.h"

namespace quantd {
namespace {

constexpr int64_t kFirstPositions = 256;

double ScaledFrequency(const RotaryScaling& scaling, double frequency) {
  if (scaling.type == "linear") return frequency / scaling.factor;
  if (scaling.type != "llama3") return frequency;
  const double wavelength = 2 * std::numbers::pi / frequency;
  const double original = static_cast<double>(scaling.original_context);
  if (wavelength < original / scaling.high_frequency_factor) return frequency;
  if (wavelength > original / scaling.low_frequency_factor) return frequency / scaling.factor;
  const double t = (original / wavelength - scaling.low_frequency_factor) /
                   (scaling.high_frequency_factor - scaling.low_frequency_factor);
  return frequency * ((1 - t) / scaling.factor + t);
}

std::shared_ptr<const RotaryTable> MakeTable(const std::vector<double>& frequencies, int64_t positions) {
  const int64_t pairs = static_cast<int64_t>(frequencies.size());
  auto table = std::make_shared<RotaryTable>(RotaryTable{Matrix(positions, pairs), Matrix(positions, pairs)});
  for (int64_t position = 0; position < positions; ++position) {
    for (int64_t i = 0; i < pairs; ++i) {
      const double angle = static_cast<double>(position) * frequencies[i];
      table->cosine.at(position, i) = static_cast<float>(std::cos(angle));
      table->sine.at(position, i) = static_cast<float>(std::sin(angle));
    }
  }
  return table;
}

}  // namespace

std::vector<double> RotaryFrequencies(const ModelConfig& config) {
  std::vector<double> frequencies(static_cast<size_t>(config.rotary_size / 2));
  for (size_t i = 0; i < frequencies.size(); ++i) {
    const double exponent = -2.0 * static_cast<double>(i) / static_cast<double>(config.rotary_size);
    frequencies[i] = ScaledFrequency(config.rotary_scaling, std::pow(config.rotary_base, exponent));
  }
  return frequencies;
}

std::shared_ptr<const RotaryTable> RotaryTables::Covering(int64_t positions) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (table_ == nullptr || table_->cosine.rows() < positions) {
    const int64_t doubled = table_ == nullptr ? kFirstPositions : 2 * table_->cosine.rows();
    table_ = MakeTable(frequencies_, std::max(positions, doubled));
  }
  return table_;
}

void ApplyRotary(const ExecutionContext& context, const RotaryTable& table, int64_t head_size, int64_t first_position,
                 MutableMatrixView rows) {
  const VectorKernels& kernels = VectorKernelsFor(context.isa());
  const int64_t half = table.cosine.cols();
  ForRows(context, rows.rows, [&](int64_t t) {
    const float* cosine = table.cosine.row(first_position + t);
    const float* sine = table.sine.row(first_position + t);
    for (int64_t begin = 0; begin < rows.cols; begin += head_size) {
      float* head = rows.row(t) + begin;
      kernels.rotate(head, head + half, cosine, sine, half);
    }
  });
}

std::vector<float> AlibiSlopes(int64_t heads) {
  int64_t power = 1;
  while (power * 2 <= heads) power *= 2;
  std::vector<float> slopes;
  const double n = static_cast<double>(power);
  for (int64_t h = 0; h < power; ++h) {
    slopes.push_back(static_cast<float>(std::exp2(-8.0 * static_cast<double>(h + 1) / n)));
  }
  for (int64_t k = 0; k < heads - power; ++k) {
    slopes.push_back(static_cast<float>(std::exp2(-4.0 * static_cast<double>(2 * k + 1) / n)));
  }
  return slopes;
}

}  // namespace quantd
