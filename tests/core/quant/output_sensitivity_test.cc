// The sensitivity of gradients against its definition in f64, and what must not change it.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "core/quant/sensitivity.h"
#include "core/tensor/dtype.h"
#include "tests/core/quant/test_site.h"
#include "tests/testing/random_matrix.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

constexpr int64_t kRows = 24, kCols = 40;

struct Sequence {
  Matrix inputs, gradients;
};

// Short against the layer, and long.
std::vector<Sequence> Sequences(float gradient_scale = 1) {
  std::vector<Sequence> sequences;
  for (const int64_t tokens : {3, 7, 90, 1}) {
    Sequence sequence = {RandomMatrix(tokens, kCols, 11 + tokens), RandomMatrix(tokens, kRows, 57 + tokens)};
    for (float& value : sequence.gradients.span()) value *= gradient_scale;
    sequences.push_back(std::move(sequence));
  }
  return sequences;
}

std::unique_ptr<Sensitivity> Make(Json overrides) {
  overrides["sensitivity"] = "output_adaptive";
  return MakeSensitivity(TestPlan("gptq", overrides, kRows, kCols)).value();
}

Matrix Gather(const Json& overrides, const std::vector<Sequence>& sequences, int threads = 2) {
  const auto context = TestContext(threads);
  const auto sensitivity = Make(overrides);
  for (const Sequence& sequence : sequences) {
    EXPECT_OK(sensitivity->AddGradients(*context, sequence.inputs.view(), sequence.gradients.view()));
  }
  return sensitivity->Finish(*context).value();
}

// In f64, row-major, not scaled: sum of G^T G, or of |d_t|^2 x_t x_t^T.
std::vector<double> Definition(const std::vector<Sequence>& sequences, bool by_token) {
  std::vector<double> sums(kCols * kCols);
  for (const auto& [inputs, gradients] : sequences) {
    // Each row of `factors` is one vector whose outer product is added.
    std::vector<std::vector<double>> factors;
    for (int64_t t = 0; t < inputs.rows() && by_token; ++t) {
      double squared = 0;
      for (int64_t r = 0; r < kRows; ++r) squared += double{gradients.at(t, r)} * gradients.at(t, r);
      std::vector<double> row;
      for (int64_t c = 0; c < kCols; ++c) row.push_back(std::sqrt(squared) * inputs.at(t, c));
      factors.push_back(row);
    }
    for (int64_t r = 0; r < kRows && !by_token; ++r) {
      std::vector<double> row(kCols);
      for (int64_t t = 0; t < inputs.rows(); ++t) {
        for (int64_t c = 0; c < kCols; ++c) row[c] += double{gradients.at(t, r)} * inputs.at(t, c);
      }
      factors.push_back(row);
    }
    for (const auto& row : factors) {
      for (int64_t i = 0; i < kCols; ++i) {
        for (int64_t j = 0; j < kCols; ++j) sums[i * kCols + j] += row[i] * row[j];
      }
    }
  }
  return sums;
}

double Mean(const std::vector<double>& matrix) {
  double trace = 0;
  for (int64_t i = 0; i < kCols; ++i) trace += matrix[i * kCols + i];
  return trace / kCols;
}

// Largest difference to the definition, when both have a mean diagonal of 1, as a share of the largest diagonal entry.
double RelativeDifference(const Matrix& hessian, const std::vector<double>& definition) {
  const double mean = Mean(definition);
  double largest = 0, scale = 0;
  for (int64_t i = 0; i < kCols; ++i) {
    scale = std::max(scale, definition[i * kCols + i] / mean);
    for (int64_t j = 0; j < kCols; ++j) {
      largest = std::max(largest, std::abs(hessian.at(i, j) - definition[i * kCols + j] / mean));
    }
  }
  return largest / scale;
}

// An entry is a sum of at most 101 tokens' products of two sums of at most 90 products each, in f32: 101 + 2 * 90
// roundings of 2^-24 of a sum of magnitudes, which for sums of random signs is at most sqrt(90) times the diagonal.
constexpr double kBound = (101 + 2 * 90) * 0x1p-24 * 9.5;

TEST(OutputSensitivity, IsItsDefinitionForShortAndLongSequences) {
  for (const bool by_token : {true, false}) {
    for (const char* accumulation : {"f64", "f32"}) {
      const Json overrides = {{"fisher", by_token ? "token" : "sequence"}, {"sensitivity_accumulation", accumulation}};
      const Matrix hessian = Gather(overrides, Sequences());
      EXPECT_LT(RelativeDifference(hessian, Definition(Sequences(), by_token)), kBound) << overrides.dump();
      for (int64_t i = 0; i < kCols; ++i) {
        for (int64_t j = 0; j < kCols; ++j) EXPECT_EQ(hessian.at(i, j), hessian.at(j, i));
      }
    }
  }
}

TEST(OutputSensitivity, ScaleOfTheLossDoesNotMatter) {
  for (const char* fisher : {"token", "sequence"}) {
    const Matrix plain = Gather({{"fisher", fisher}}, Sequences());
    // Squares of gradients of 2^-80 are below the range of f32.
    for (const float scale : {0x1p-80f, 0x1p+60f}) {
      const Matrix scaled = Gather({{"fisher", fisher}}, Sequences(scale));
      EXPECT_EQ(std::memcmp(plain.data(), scaled.data(), static_cast<size_t>(plain.size()) * sizeof(float)), 0)
          << fisher << " " << scale;
    }
    EXPECT_LT(RelativeDifference(Gather({{"fisher", fisher}}, Sequences(3)),
                                 Definition(Sequences(), fisher == std::string("token"))),
              kBound);
  }
}

TEST(OutputSensitivity, ShrinkageLeadsToTheInputs) {
  std::vector<double> inputs(kCols * kCols);
  for (const Sequence& sequence : Sequences()) {
    for (int64_t t = 0; t < sequence.inputs.rows(); ++t) {
      for (int64_t i = 0; i < kCols; ++i) {
        for (int64_t j = 0; j < kCols; ++j) {
          inputs[i * kCols + j] += double{sequence.inputs.at(t, i)} * sequence.inputs.at(t, j);
        }
      }
    }
  }
  EXPECT_LT(RelativeDifference(Gather({{"shrinkage", 1}}, Sequences()), inputs), kBound);
  std::vector<double> half = Definition(Sequences(), /*by_token=*/true);
  const double mean = Mean(half), input_mean = Mean(inputs);
  for (size_t i = 0; i < half.size(); ++i) half[i] = half[i] / mean + inputs[i] / input_mean;
  EXPECT_LT(RelativeDifference(Gather({{"shrinkage", 0.5}}, Sequences()), half), kBound);
}

TEST(OutputSensitivity, BitsAreTheSameForAnyNumberOfThreadsAndAfterASave) {
  for (const char* fisher : {"token", "sequence"}) {
    const Json overrides = {{"fisher", fisher}, {"shrinkage", 0.25}};
    const Matrix one = Gather(overrides, Sequences(), 1);
    const Matrix five = Gather(overrides, Sequences(), 5);
    const size_t size_bytes = static_cast<size_t>(one.size()) * sizeof(float);
    EXPECT_EQ(std::memcmp(one.data(), five.data(), size_bytes), 0);

    const auto context = TestContext();
    const auto sequences = Sequences();
    const auto first = Make(overrides), second = Make(overrides);
    for (size_t s = 0; s < sequences.size(); ++s) {
      Sensitivity& half = s < 2 ? *first : *second;
      if (s == 2) {
        ASSERT_OK(second->LoadState(StateTensors(first->SaveState())));
      }
      ASSERT_OK(half.AddGradients(*context, sequences[s].inputs.view(), sequences[s].gradients.view()));
    }
    const Matrix resumed = second->Finish(*context).value();
    EXPECT_EQ(std::memcmp(one.data(), resumed.data(), size_bytes), 0) << fisher;
  }
}

TEST(OutputSensitivity, WithoutAnyGradientEveryErrorCostsTheSame) {
  const Matrix hessian = Gather({}, Sequences(0));
  EXPECT_EQ(hessian.size(), 0);
  // A path that is dead in the first sequences only.
  std::vector<Sequence> sequences = Sequences(0);
  for (Sequence& sequence : Sequences()) sequences.push_back(std::move(sequence));
  EXPECT_LT(RelativeDifference(Gather({}, sequences), Definition(Sequences(), /*by_token=*/true)), kBound);
}

TEST(OutputSensitivity, Bf16DiffersByWhatItSays) {
  for (const char* fisher : {"token", "sequence"}) {
    const auto context = TestContext();
    const auto rounded = Make({{"fisher", fisher}, {"gradient_precision", "bf16"}});
    const std::vector<Sequence> sequences = Sequences();
    const Sequence& first = sequences[2];
    ASSERT_OK(rounded->AddGradients(*context, first.inputs.view(), first.gradients.view()));
    ASSERT_TRUE(rounded->precision_difference().has_value());
    const double difference = *rounded->precision_difference();
    // By the definition: entries rounded by hand, both forms in f64.
    std::vector<Sequence> narrow;
    narrow.push_back({Matrix::CopyOf(first.inputs.view()), Matrix::CopyOf(first.gradients.view())});
    for (Matrix* matrix : {&narrow[0].inputs, &narrow[0].gradients}) {
      for (float& value : matrix->span()) value = Bf16ToF32(F32ToBf16(value));
    }
    std::vector<Sequence> wide;
    wide.push_back({Matrix::CopyOf(first.inputs.view()), Matrix::CopyOf(first.gradients.view())});
    const bool by_token = fisher == std::string("token");
    const std::vector<double> h = Definition(wide, by_token), h_narrow = Definition(narrow, by_token);
    double squares = 0, differences = 0;
    for (size_t i = 0; i < h.size(); ++i) {
      squares += h[i] * h[i];
      differences += (h_narrow[i] - h[i]) * (h_narrow[i] - h[i]);
    }
    const double expected = std::sqrt(differences / squares);
    EXPECT_GT(expected, 1e-4) << "the test could not tell";
    EXPECT_NEAR(difference, expected, 2 * kBound) << fisher;
    // It is the rounded form that is kept, and the first sequence's figure that stays.
    EXPECT_LT(RelativeDifference(*rounded->Finish(*context), h_narrow), kBound);
    ASSERT_OK(rounded->AddGradients(*context, sequences[0].inputs.view(), sequences[0].gradients.view()));
    EXPECT_EQ(*rounded->precision_difference(), difference);
    const auto resumed = Make({{"fisher", fisher}, {"gradient_precision", "bf16"}});
    ASSERT_OK(resumed->LoadState(StateTensors(rounded->SaveState())));
    EXPECT_EQ(*resumed->precision_difference(), difference);
  }
  EXPECT_FALSE(Make({})->precision_difference().has_value());
}

TEST(OutputSensitivity, Bf16OfWhatBf16HoldsIsExact) {
  std::vector<Sequence> sequences = Sequences();
  for (Sequence& sequence : sequences) {
    for (Matrix* matrix : {&sequence.inputs, &sequence.gradients}) {
      for (float& value : matrix->span()) value = Bf16ToF32(F32ToBf16(value));
    }
  }
  for (const char* fisher : {"token", "sequence"}) {
    const Matrix plain = Gather({{"fisher", fisher}}, sequences);
    const Matrix rounded = Gather({{"fisher", fisher}, {"gradient_precision", "bf16"}}, sequences);
    EXPECT_EQ(std::memcmp(plain.data(), rounded.data(), static_cast<size_t>(plain.size()) * sizeof(float)), 0);
  }
}

TEST(OutputSensitivity, RefusesWhatIsNotFinite) {
  const auto context = TestContext();
  const auto sensitivity = Make({});
  for (const float value : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    std::vector<Sequence> bad = Sequences();
    bad[2].gradients.at(5, 1) = value;
    EXPECT_THAT(sensitivity->AddGradients(*context, bad[2].inputs.view(), bad[2].gradients.view()),
                FailsWith("NOT_FINITE_GRADIENT", "token 5"));
    bad[1].inputs.at(4, 1) = value;
    EXPECT_THAT(sensitivity->AddGradients(*context, bad[1].inputs.view(), bad[1].gradients.view()),
                FailsWith("NOT_FINITE_INPUT", "token 4"));
  }
  EXPECT_THAT(sensitivity->Finish(*context).status(), FailsWith("SENSITIVITY_NO_DATA", "calibration"));
}

}  // namespace
}  // namespace quantd
