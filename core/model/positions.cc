#include "core/model/positions.h"

#include <cmath>
#include <numbers>

namespace quantd {
namespace {

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

}  // namespace

std::vector<double> RotaryFrequencies(const ModelConfig& config) {
  std::vector<double> frequencies(static_cast<size_t>(config.head_size / 2));
  for (size_t i = 0; i < frequencies.size(); ++i) {
    const double exponent = -2.0 * static_cast<double>(i) / static_cast<double>(config.head_size);
    frequencies[i] = ScaledFrequency(config.rotary_scaling, std::pow(config.rotary_base, exponent));
  }
  return frequencies;
}

void ApplyRotary(const ExecutionContext& context, const std::vector<double>& frequencies, int64_t first_position,
                 MutableMatrixView rows) {
  const int64_t half = static_cast<int64_t>(frequencies.size());
  context.pool().ParallelFor(rows.rows, [&](int64_t t) {
    std::vector<float> cosine(frequencies.size()), sine(frequencies.size());
    for (int64_t i = 0; i < half; ++i) {
      const double angle = static_cast<double>(first_position + t) * frequencies[i];
      cosine[i] = static_cast<float>(std::cos(angle));
      sine[i] = static_cast<float>(std::sin(angle));
    }
    for (float* head = rows.row(t); head < rows.row(t) + rows.cols; head += 2 * half) {
      for (int64_t i = 0; i < half; ++i) {
        const float low = head[i], high = head[i + half];
        head[i] = low * cosine[i] - high * sine[i];
        head[i + half] = high * cosine[i] + low * sine[i];
      }
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
