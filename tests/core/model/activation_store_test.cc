#include "core/model/activation_store.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <utility>
#include <vector>

#include "tests/testing/status_matchers.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

constexpr int64_t kWidth = 1025;  // rows do not begin at page borders

float ValueAt(int64_t sequence, int64_t token, int64_t column) {
  return static_cast<float>(sequence * 100000 + token * 2000 + column);
}

void Fill(ActivationStore& store) {
  for (int64_t s = 0; s < store.sequences(); ++s) {
    MutableMatrixView view = store.sequence(s);
    for (int64_t t = 0; t < view.rows; ++t) {
      for (int64_t c = 0; c < view.cols; ++c) view.at(t, c) = ValueAt(s, t, c);
    }
    store.Release(s);
  }
}

int64_t CountWrongValues(const ActivationStore& store) {
  int64_t wrong = 0;
  for (int64_t s = 0; s < store.sequences(); ++s) {
    const MatrixView view = store.sequence(s);
    for (int64_t t = 0; t < view.rows; ++t) {
      for (int64_t c = 0; c < view.cols; ++c) wrong += view.at(t, c) != ValueAt(s, t, c);
    }
  }
  return wrong;
}

class ActivationStoreTest : public testing::TestWithParam<bool> {};

TEST_P(ActivationStoreTest, KeepsEverySequenceThroughReleaseAndMove) {
  const std::string scratch = MakeTempDir();
  const ActivationStoreOptions options{.memory_budget_bytes = GetParam() ? 4096u : UINT64_MAX,
                                       .scratch_directory = scratch};
  ASSERT_OK_AND_ASSIGN(ActivationStore store, ActivationStore::Create({3, 0, 17, 5}, kWidth, options));
  EXPECT_EQ(store.spilled(), GetParam());
  EXPECT_EQ(store.sequences(), 4);
  EXPECT_EQ(store.tokens(), 25);
  EXPECT_EQ(store.first_row(2), 3);
  EXPECT_EQ(store.size_bytes(), 25u * kWidth * 4);
  EXPECT_TRUE(std::filesystem::is_empty(scratch)) << "the scratch file must have no name";
  EXPECT_EQ(store.rows().at(24, kWidth - 1), 0.0F);
  Fill(store);
  ActivationStore moved = std::move(store);
  EXPECT_EQ(CountWrongValues(moved), 0);
  EXPECT_EQ(moved.rows().at(24, 7), ValueAt(3, 4, 7));
}

INSTANTIATE_TEST_SUITE_P(MemoryAndDisk, ActivationStoreTest, testing::Bool());

TEST(ActivationStoreLimitsTest, EmptyStoresWork) {
  ASSERT_OK_AND_ASSIGN(const ActivationStore store, ActivationStore::Create(0, 5, 8, {}));
  EXPECT_EQ(store.sequences(), 0);
  EXPECT_EQ(store.size_bytes(), 0u);
}

TEST(ActivationStoreLimitsTest, RefusesWhatCannotBeHeld) {
  EXPECT_THAT(ActivationStore::Create({INT64_MAX, 5}, 8, {}), FailsWith("ACTIVATIONS_TOO_LARGE", "width 8"));
  EXPECT_THAT(ActivationStore::Create({INT64_MAX / 8}, 1024, {}), FailsWith("ACTIVATIONS_TOO_LARGE", "width 1024"));
  EXPECT_THAT(ActivationStore::Create({-1}, 8, {}), FailsWith("ACTIVATIONS_TOO_LARGE", ""));
  EXPECT_THAT(ActivationStore::Create(int64_t{1} << 40, 1, 1, {}), FailsWith("ACTIVATIONS_TOO_LARGE", ""));
}

TEST(ActivationStoreLimitsTest, NamesTheScratchDirectoryThatIsMissing) {
  EXPECT_THAT(ActivationStore::Create(1, 8, 8, {.memory_budget_bytes = 0, .scratch_directory = "/nonexistent/scratch"}),
              FailsWith("FILE_NOT_FOUND", "/nonexistent/scratch"));
}

}  // namespace
}  // namespace quantd
