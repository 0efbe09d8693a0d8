// What a gradient pass promises of every family: blocks alone, prefixes, budgets, threads and interruptions change no
// bit; what the loss does not see has no gradient; what overflows is named.
#include "core/model/gradient_pass.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "tests/core/model/small_models.h"
#include "tests/testing/random_matrix.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

absl::Status GoOn(double) {
  return absl::OkStatus();
}

// All that observers are shown, in order, and optionally where gradients end.
class Recorder : public GradientObserver {
 public:
  struct Call {
    std::string site;
    std::vector<float> x, delta;
    bool operator==(const Call& other) const { return site == other.site && x == other.x && delta == other.delta; }
  };
  absl::Status OnGradient(const LinearSite& site, const MatrixView& x, const MatrixView& delta) override {
    EXPECT_EQ(x.cols, site.cols);
    EXPECT_EQ(delta.cols, site.rows);
    EXPECT_EQ(x.rows, delta.rows);
    calls.push_back({site.name, Flat(x), Flat(delta)});
    return absl::OkStatus();
  }
  static std::vector<float> Flat(const MatrixView& view) {
    const Matrix copy = Matrix::CopyOf(view);
    return {copy.data(), copy.data() + copy.size()};
  }
  std::vector<Call> calls;
};

class GradientPassTest : public testing::TestWithParam<SmallModel> {
 protected:
  GradientPass Create(GradientPassOptions options = {}) const {
    return GradientPass::Create(*context_, *model_, sequences_, std::move(options)).value();
  }
  // A whole pass.
  Recorder Record(GradientPass& pass) const {
    Recorder recorder;
    EXPECT_OK(pass.Embed());
    EXPECT_OK(pass.Run(&recorder, GoOn));
    return recorder;
  }
  Recorder Record(GradientPassOptions options = {}) const {
    GradientPass pass = Create(std::move(options));
    return Record(pass);
  }

  const std::unique_ptr<Transformer> model_ = OpenSmallModel(GetParam());
  const std::unique_ptr<ExecutionContext> context_ = ExecutionContext::Create({.threads = 2}).value();
  std::vector<TokenSequence> sequences_ = {RandomTokens(*model_, 150, 1), RandomTokens(*model_, 7, 2),
                                           RandomTokens(*model_, 33, 3)};
};

TEST_P(GradientPassTest, ShowsEverySiteOfEverySequenceFromTheEnd) {
  const Recorder recorder = Record();
  std::vector<std::string> expected;
  for (int b = model_->config().blocks - 1; b >= 0; --b) {
    const auto sites = model_->block_sites(b);
    for (size_t s = 0; s < sequences_.size(); ++s) {
      for (auto site = sites.rbegin(); site != sites.rend(); ++site) expected.push_back(site->name);
    }
  }
  std::vector<std::string> seen;
  for (const auto& call : recorder.calls) seen.push_back(call.site);
  EXPECT_EQ(seen, expected);
}

class InputRecorder : public InputObserver {
 public:
  absl::Status OnInput(const LinearSite& site, const MatrixView& input) override {
    inputs[site.name] = Recorder::Flat(input);
    return absl::OkStatus();
  }
  std::map<std::string, std::vector<float>> inputs;
};

TEST_P(GradientPassTest, RepeatsTheForwardPassWithTheSameBits) {
  sequences_ = {RandomTokens(*model_, 70, 4)};
  const Recorder recorder = Record();
  Matrix hidden(70, model_->config().hidden_size);
  ASSERT_OK(model_->Embed(*context_, sequences_[0], 0, hidden.view()));
  InputRecorder inputs;
  for (int b = 0; b < model_->config().blocks; ++b) {
    ASSERT_OK(model_->ForwardBlock(*context_, *model_->LoadBlock(b), {.observer = &inputs}, hidden.view()));
  }
  for (const auto& call : recorder.calls) EXPECT_EQ(call.x, inputs.inputs[call.site]) << call.site;
}

TEST_P(GradientPassTest, HasTheSameBitsForAnyNumberOfThreads) {
  const auto run = [&](int threads) {
    const auto context = ExecutionContext::Create({.threads = threads}).value();
    GradientPassOptions options;
    options.labels = LabelSource::kSampled;
    GradientPass pass = GradientPass::Create(*context, *model_, sequences_, options).value();
    Recorder recorder = Record(pass);
    return std::pair(std::move(recorder.calls), std::vector<double>(pass.losses().begin(), pass.losses().end()));
  };
  const auto one = run(1);
  for (int threads : {2, 5}) EXPECT_TRUE(run(threads) == one) << threads;
}

// The last position predicts nothing, and nothing sees it.
TEST_P(GradientPassTest, WhatTheLossDoesNotSeeHasNoGradient) {
  for (const auto& call : Record().calls) {
    const auto site = std::find_if(model_->sites().begin(), model_->sites().end(),
                                   [&](const LinearSite& row) { return row.name == call.site; });
    const absl::Span<const float> delta = call.delta;
    const size_t width = static_cast<size_t>(site->rows);
    for (const float value : delta.last(width)) ASSERT_EQ(value, 0) << call.site;
    const auto before = delta.subspan(delta.size() - 2 * width, width);
    EXPECT_TRUE(std::any_of(before.begin(), before.end(), [](float value) { return value != 0; })) << call.site;
  }
}

// A gradient at one position's output reaches back as far as that position sees.
TEST_P(GradientPassTest, PositionsOutsideTheWindowHaveNoGradient) {
  constexpr int64_t kTokens = 90, kPosition = 80;
  const int64_t width = model_->config().hidden_size;
  const int64_t window = model_->config().sliding_window;
  const int64_t first = window > 0 ? kPosition - window + 1 : 0;
  const Matrix input = RandomMatrix(kTokens, width, 7), row = RandomMatrix(1, width, 8);
  Matrix gradient(kTokens, width);
  std::copy_n(row.data(), width, gradient.row(kPosition));
  ASSERT_OK(model_->BackwardBlock(*context_, *model_->LoadBlock(0), {}, input.view(), gradient.view()));
  for (int64_t t = 0; t < kTokens; ++t) {
    const auto values = gradient.view().row_span(t);
    const bool any = std::any_of(values.begin(), values.end(), [](float value) { return value != 0; });
    EXPECT_EQ(any, t >= first && t <= kPosition) << t;
  }
}

// From the kept gradient at its output and its input, each block alone gives what the whole pass gave.
TEST_P(GradientPassTest, OneBlockAloneFromAKeptBoundaryIsThatOfTheWholePass) {
  GradientPassOptions options;
  options.keep_gradients = true;
  GradientPass pass = Create(options);
  const Recorder whole = Record(pass);
  Recorder alone;
  std::vector<Matrix> inputs;  // of each sequence, then of the next block
  for (const TokenSequence& ids : sequences_) {
    inputs.emplace_back(static_cast<int64_t>(ids.size()), model_->config().hidden_size);
    ASSERT_OK(model_->Embed(*context_, ids, 0, inputs.back().view()));
  }
  std::map<int, std::vector<Recorder::Call>> of_block;
  for (int b = 0; b < model_->config().blocks; ++b) {
    const Block block = model_->LoadBlock(b).value();
    Recorder recorder;
    for (size_t s = 0; s < sequences_.size(); ++s) {
      const auto index = static_cast<int64_t>(s);
      Matrix gradient = Matrix::CopyOf(pass.boundary(b + 1).sequence(index));
      ASSERT_OK(model_->BackwardBlock(*context_, block, {&recorder, /*input_gradient=*/true}, inputs[s].view(),
                                      gradient.view()));
      EXPECT_EQ(Recorder::Flat(gradient.view()), Recorder::Flat(pass.boundary(b).sequence(index)));
      ASSERT_OK(model_->ForwardBlock(*context_, block, {}, inputs[s].view()));
    }
    of_block[b] = std::move(recorder.calls);
  }
  for (int b = model_->config().blocks - 1; b >= 0; --b) {
    alone.calls.insert(alone.calls.end(), of_block[b].begin(), of_block[b].end());
  }
  EXPECT_TRUE(alone.calls == whole.calls);
}

TEST_P(GradientPassTest, SparingTheInputGradientChangesNothingElse) {
  const int64_t width = model_->config().hidden_size;
  const Matrix input = RandomMatrix(9, width, 5);
  const Block block = model_->LoadBlock(0).value();
  Recorder with, without;
  for (const auto& [recorder, wanted] : {std::pair(&with, true), {&without, false}}) {
    Matrix gradient = RandomMatrix(9, width, 6);
    ASSERT_OK(model_->BackwardBlock(*context_, block, {recorder, wanted}, input.view(), gradient.view()));
  }
  EXPECT_TRUE(with.calls == without.calls);
}

TEST_P(GradientPassTest, FromALaterBlockOnIsThatOfTheWholePass) {
  const Recorder whole = Record();
  GradientPassOptions options;
  options.first_block = 1;
  int loaded = 0;
  options.load_block = [&](int b) {
    ++loaded;
    return model_->LoadBlock(b);
  };
  GradientPass pass = Create(options);
  const Block first = model_->LoadBlock(0).value();
  for (size_t s = 0; s < sequences_.size(); ++s) {
    const MutableMatrixView hidden = pass.boundary(1).sequence(static_cast<int64_t>(s));
    ASSERT_OK(model_->Embed(*context_, sequences_[s], 0, hidden));
    ASSERT_OK(model_->ForwardBlock(*context_, first, {}, hidden));
  }
  Recorder later;
  ASSERT_OK(pass.Run(&later, GoOn));
  EXPECT_EQ(loaded, 2 * (model_->config().blocks - 1));
  ASSERT_LT(later.calls.size(), whole.calls.size());
  EXPECT_TRUE(std::equal(later.calls.begin(), later.calls.end(), whole.calls.begin()));
}

TEST_P(GradientPassTest, HasTheSameBitsWhereverBoundariesAreKept) {
  const Recorder in_memory = Record();
  const int64_t tokens = 150 + 7 + 33;
  const uint64_t boundary = static_cast<uint64_t>(tokens * model_->config().hidden_size) * sizeof(float);
  for (uint64_t budget : {uint64_t{0}, boundary, 2 * boundary}) {
    GradientPassOptions options;
    options.store.memory_budget_bytes = budget;
    GradientPass pass = Create(options);
    int spilled = 0;
    for (int b = 0; b <= model_->config().blocks; ++b) spilled += pass.boundary(b).spilled();
    EXPECT_EQ(spilled, model_->config().blocks + 1 - static_cast<int>(budget / boundary));
    EXPECT_TRUE(Record(pass).calls == in_memory.calls) << budget;
  }
}

// Stopped after every step, saved, and gone on from by another pass.
TEST_P(GradientPassTest, GoesOnFromWhatWasSavedWithTheSameBits) {
  for (bool keep : {false, true}) {
    GradientPassOptions options;
    options.keep_gradients = keep;
    const Recorder whole = Record(options);
    Recorder pieces;
    std::map<std::string, std::vector<StateTensor>> saved;
    std::map<std::string, std::string> bytes;  // of parts: a name stands for one content
    std::vector<double> losses;
    GradientPlace place;
    double last = 0;
    for (bool first = true; first || place.phase != GradientPlace::Phase::kDone; first = false) {
      GradientPass pass = Create(options);
      if (first) {
        ASSERT_OK(pass.Embed());
      } else {
        ASSERT_OK(pass.Load(place, [&](const std::string& part) -> absl::StatusOr<StateTensors> {
          const auto it = bytes.find(part);
          if (it == bytes.end()) return absl::NotFoundError(part);
          std::vector<StateTensor> tensors = saved.at(part);
          tensors[0].bytes = it->second;
          return StateTensors(tensors);
        }));
      }
      const auto stop = [&](double share) {
        EXPECT_GT(share, last);
        EXPECT_LE(share, 1);
        last = share;
        return absl::AbortedError("stop");
      };
      EXPECT_FALSE(pass.Run(&pieces, stop).ok());
      place = pass.place();
      for (const StatePart& part : pass.Save()) {
        const StateTensors state = part.tensors();
        const StateTensor& tensor = state.tensors()[0];
        const std::string content(tensor.bytes.begin(), tensor.bytes.end());
        const auto [it, added] = bytes.emplace(part.name, content);
        EXPECT_TRUE(added || it->second == content) << part.name;
        saved[part.name] = {{tensor.name, tensor.dtype, tensor.shape, {}}};
      }
      losses.assign(pass.losses().begin(), pass.losses().end());
    }
    EXPECT_EQ(last, 1);
    EXPECT_TRUE(pieces.calls == whole.calls);
    GradientPass again = Create(options);
    Record(again);
    EXPECT_EQ(losses, std::vector<double>(again.losses().begin(), again.losses().end()));
  }
}

TEST_P(GradientPassTest, NamesSequenceAndBlockThatOverflow) {
  const float huge = std::numeric_limits<float>::max();
  GradientPassOptions options;
  options.first_sequence = 40;
  options.load_block = [&](int b) {
    auto block = model_->LoadBlock(b);
    if (b == 1) {
      for (float& value : block->linears.back().weight.span()) value = huge;
    }
    return block;
  };
  GradientPass pass = Create(options);
  ASSERT_OK(pass.Embed());
  const absl::Status status = pass.Run(nullptr, GoOn);
  EXPECT_THAT(status, FailsWith("ACTIVATIONS_NOT_FINITE", "sequence 40: the output of block 1"));
}

TEST_P(GradientPassTest, RefusesWhatItCannotDo) {
  GradientPassOptions options;
  options.first_block = 3;
  EXPECT_THAT(GradientPass::Create(*context_, *model_, sequences_, options),
              FailsWith("BLOCK_OUT_OF_RANGE", "block 3"));
  const std::vector<TokenSequence> with_short = {{1, 2, 3}, {4}};
  options = {};
  options.first_sequence = 7;
  EXPECT_THAT(GradientPass::Create(*context_, *model_, with_short, options),
              FailsWith("SEQUENCE_TOO_SHORT", "sequence 8 has 1 token"));
  GradientPass pass = Create();
  const auto nothing = [](const std::string&) { return absl::StatusOr<StateTensors>(StateTensors()); };
  for (const GradientPlace& place :
       {GradientPlace{GradientPlace::Phase::kForward, 2, 0}, GradientPlace{GradientPlace::Phase::kLoss, 1, 0},
        GradientPlace{GradientPlace::Phase::kBackward, -1, 0}, GradientPlace{GradientPlace::Phase::kBackward, 1, 3},
        GradientPlace{GradientPlace::Phase::kDone, 0, 1}}) {
    EXPECT_THAT(pass.Load(place, nothing), FailsWith("CHECKPOINT_MALFORMED", "gradients of blocks 0 to 1"));
  }
  EXPECT_THAT(pass.Load({GradientPlace::Phase::kLoss, 2, 0}, nothing), FailsWith("CHECKPOINT_MALFORMED", "losses"));
}

TEST_P(GradientPassTest, NoSequencesAreDoneAtOnce) {
  GradientPass pass = GradientPass::Create(*context_, *model_, {}, {}).value();
  ASSERT_OK(pass.Embed());
  EXPECT_OK(pass.Run(nullptr, [](double) { return absl::InternalError("nothing to do"); }));
}

TEST_P(GradientPassTest, ADeadPathHasNoGradient) {
  const auto sites = model_->block_sites(1);
  GradientPassOptions options;
  options.load_block = [&](int b) {
    auto block = model_->LoadBlock(b);
    if (b == 1) {
      for (float& value : block->linears.back().weight.span()) value = 0;  // down
    }
    return block;
  };
  const Recorder recorder = Record(options);
  for (const auto& call : recorder.calls) {
    const bool feeds_down = sites[sites.size() - 2].name == call.site ||
                            (sites[sites.size() - 3].name == call.site && call.site.find("gate") != std::string::npos);
    double sum = 0;
    for (const float value : call.delta) sum += std::abs(value);
    EXPECT_EQ(sum == 0, feeds_down) << call.site;
  }
}

INSTANTIATE_TEST_SUITE_P(Families, GradientPassTest, testing::ValuesIn(SmallModels()),
                         [](const auto& row) { return SmallModelName(row.param); });

}  // namespace
}  // namespace quantd
