// The loss and its labels.
#include "core/model/sequence_loss.h"

#include <cmath>
#include <limits>
#include <vector>

#include "tests/core/model/small_models.h"
#include "tests/testing/random_matrix.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

class SequenceLossTest : public testing::TestWithParam<SmallModel> {
 protected:
  struct Result {
    double loss = 0;
    Matrix gradient;
  };
  Result Run(const TokenSequence& ids, const Matrix& hidden, const LossOptions& options = {}) const {
    Result result{0, Matrix::CopyOf(hidden.view())};
    const auto loss = LossGradient(*context_, *model_, head_, options, ids, result.gradient.view());
    EXPECT_OK(loss);
    result.loss = loss.value_or(NAN);
    return result;
  }
  Matrix Logits(const Matrix& hidden) const {
    Matrix logits(hidden.rows(), model_->config().vocabulary_size);
    model_->Logits(*context_, head_, hidden.view(), logits.view());
    return logits;
  }
  // -log softmax of every label, in f64.
  std::vector<double> Losses(const Matrix& logits, int64_t t) const {
    double sum = 0;
    for (const float logit : logits.view().row_span(t)) sum += std::exp(static_cast<double>(logit));
    std::vector<double> losses;
    for (const float logit : logits.view().row_span(t)) losses.push_back(std::log(sum) - logit);
    return losses;
  }

  const std::unique_ptr<Transformer> model_ = OpenSmallModel(GetParam());
  const std::unique_ptr<ExecutionContext> context_ = ExecutionContext::Create({.threads = 2}).value();
  const Head head_ = model_->LoadHead().value();
  const int64_t width_ = model_->config().hidden_size;
};

// Lengths around the rows that the head takes at a time. What rounds: logits as they are, one difference and one
// logarithm a position in f64.
TEST_P(SequenceLossTest, IsTheMeanOverAllPredictions) {
  for (int64_t length : {2, 3, 5, 128, 129, 130, 133, 300}) {
    const TokenSequence ids = RandomTokens(*model_, length, 1);
    const Matrix hidden = RandomMatrix(length, width_, 2, 2);
    const Matrix logits = Logits(hidden);
    double sum = 0;
    for (int64_t t = 0; t + 1 < length; ++t) sum += Losses(logits, t)[ids[t + 1]];
    // Few rows at the end of a slab are multiplied in another order: logits of size 4 are off by some units.
    EXPECT_NEAR(Run(ids, hidden).loss, sum / static_cast<double>(length - 1), 4 * 64 * 0x1p-24) << length;
  }
}

// Along the gradient itself; bounds as in gradient_difference_test.cc.
TEST_P(SequenceLossTest, GradientIsTheDifferenceQuotient) {
  constexpr double kLossError = 2e-6, kLossChange = 0.02;
  for (int64_t length : {2, 40, 140}) {
    const TokenSequence ids = RandomTokens(*model_, length, 3);
    const Matrix hidden = RandomMatrix(length, width_, 4, 2);
    const Result at = Run(ids, hidden);
    double norm = 0;
    for (const float value : at.gradient.span()) norm += double{value} * value;
    const double step = kLossChange / norm;
    const auto loss = [&](double steps) {
      Matrix moved = Matrix::CopyOf(hidden.view());
      for (int64_t i = 0; i < moved.size(); ++i) {
        moved.data()[i] += static_cast<float>(steps * step * at.gradient.data()[i]);
      }
      return Run(ids, moved).loss;
    };
    const double one = (loss(1) - loss(-1)) / (2 * step), two = (loss(2) - loss(-2)) / (4 * step);
    const double tolerance = std::abs(one - two) / 3 + 2 * kLossError / step;
    EXPECT_NEAR((4 * one - two) / 3, norm, tolerance) << length;
    EXPECT_LT(tolerance, 0.05 * norm) << length << ": too wide to notice an error";
  }
}

// Rows of a gradient depend on the row's label alone: which one was drawn shows from those of all labels.
class SampledLabelsTest : public SequenceLossTest {
 protected:
  static constexpr int64_t kLength = 140;  // more than the head takes at a time

  SampledLabelsTest() {
    for (int32_t label = 0; label < model_->config().vocabulary_size; ++label) {
      of_label_.push_back(Run(TokenSequence(kLength, label), hidden_).gradient);
    }
  }

  // -1: that of no label.
  std::vector<int32_t> Drawn(uint64_t seed, int64_t sequence) const {
    const Matrix gradient = Run(TokenSequence(kLength, 0), hidden_, {LabelSource::kSampled, seed, sequence}).gradient;
    std::vector<int32_t> labels;
    for (int64_t t = 0; t + 1 < kLength; ++t) {
      int32_t found = -1;
      for (size_t label = 0; label < of_label_.size(); ++label) {
        if (gradient.view().row_span(t) == of_label_[label].view().row_span(t)) found = static_cast<int32_t>(label);
      }
      labels.push_back(found);
    }
    return labels;
  }

  const Matrix hidden_ = RandomMatrix(kLength, width_, 7, 2);
  std::vector<Matrix> of_label_;
};

// The mean surprise of n draws is the mean entropy, within four standard errors; so is the mean of the gradients zero,
// whose squared norm has the expectation of the mean squared norm over n.
TEST_P(SampledLabelsTest, AreDrawnFromTheModel) {
  constexpr int64_t kSequences = 30;
  const Matrix logits = Logits(hidden_);
  double surprise = 0, entropy = 0, variance = 0, squares = 0;
  Matrix sum(kLength, width_);
  for (int64_t sequence = 0; sequence < kSequences; ++sequence) {
    const std::vector<int32_t> labels = Drawn(11, sequence);
    for (size_t t = 0; t < labels.size(); ++t) {
      ASSERT_GE(labels[t], 0) << t;
      const std::vector<double> losses = Losses(logits, static_cast<int64_t>(t));
      double mean = 0, square = 0;
      for (const double loss : losses) mean += std::exp(-loss) * loss;
      for (const double loss : losses) square += std::exp(-loss) * loss * loss;
      surprise += losses[labels[t]];
      entropy += mean;
      variance += square - mean * mean;
      const auto row = of_label_[labels[t]].view().row_span(static_cast<int64_t>(t));
      for (int64_t c = 0; c < width_; ++c) {
        sum.at(static_cast<int64_t>(t), c) += row[c];
        squares += double{row[c]} * row[c];
      }
    }
  }
  EXPECT_NEAR(surprise, entropy, 4 * std::sqrt(variance));
  double of_sum = 0;
  for (const float value : sum.span()) of_sum += double{value} * value;
  EXPECT_NEAR(of_sum / squares, 1, 0.25);  // 139 positions of which each has a squared norm of its own
}

TEST_P(SampledLabelsTest, DependOnSeedSequenceAndPositionAlone) {
  const std::vector<int32_t> labels = Drawn(11, 3);
  EXPECT_EQ(labels, Drawn(11, 3));
  EXPECT_NE(labels, Drawn(12, 3));
  EXPECT_NE(labels, Drawn(11, 4));
}

TEST_P(SequenceLossTest, OneTokenIsNoSequence) {
  Matrix hidden(1, width_);
  for (const TokenSequence& ids : {TokenSequence(), TokenSequence{3}}) {
    const auto loss = LossGradient(*context_, *model_, head_, {LabelSource::kData, 0, 12}, ids, hidden.view());
    EXPECT_THAT(loss, FailsWith("SEQUENCE_TOO_SHORT", "sequence 12"));
  }
}

TEST_P(SequenceLossTest, LabelsAreBelowTheVocabulary) {
  for (const int32_t bad : {-1, 50}) {
    Matrix hidden = RandomMatrix(3, width_, 10);
    const auto loss = LossGradient(*context_, *model_, head_, {LabelSource::kData, 0, 12}, {4, 5, bad}, hidden.view());
    EXPECT_THAT(loss, FailsWith("TOKEN_OUT_OF_RANGE", "sequence 12: token id"));
  }
}

TEST_P(SequenceLossTest, NamesTheSequenceAndPositionThatOverflow) {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    Matrix hidden = RandomMatrix(140, width_, 8);
    hidden.at(131, 2) = bad;
    for (LabelSource labels : {LabelSource::kData, LabelSource::kSampled}) {
      Matrix copy = Matrix::CopyOf(hidden.view());
      const auto loss =
          LossGradient(*context_, *model_, head_, {labels, 0, 12}, RandomTokens(*model_, 140, 9), copy.view());
      EXPECT_THAT(loss, FailsWith("LOSS_NOT_FINITE", "sequence 12: the logits at position 131 "));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Families, SequenceLossTest, testing::ValuesIn(SmallModels()),
                         [](const auto& row) { return SmallModelName(row.param); });
INSTANTIATE_TEST_SUITE_P(OneFamily, SampledLabelsTest, testing::ValuesIn(SmallModels().first(1)),
                         [](const auto& row) { return SmallModelName(row.param); });

}  // namespace
}  // namespace quantd
