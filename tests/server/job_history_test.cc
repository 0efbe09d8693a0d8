// The checker itself: it accepts what a server that keeps its word can answer, and notices each kind of broken word.
#include "tests/server/job_history.h"

#include <gtest/gtest.h>

#include <functional>
#include <random>

#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

using Kind = Operation::Kind;
using Answer = Operation::Answer;
using v1::FinishedJob;
using v1::QuantJob;

constexpr char kName[] = "tenants/default/jobs/job-a";

SeenJob At(QuantJob::State state, int attempt, int64_t revision, bool deleted = false) {
  return {.state = state, .attempt = attempt, .deleted = deleted, .revision = revision};
}

// An operation that lasts from `begin` to `end`.
Operation During(int64_t begin, int64_t end, Kind kind, SeenJob seen = {}) {
  Operation operation;
  operation.begin = begin;
  operation.end = end;
  operation.kind = kind;
  operation.seen = seen;
  operation.name = kind == Kind::kSubmit ? kName : "";
  return operation;
}

Operation Claimed(int64_t begin, int64_t end, int64_t fence, int attempt) {
  Operation operation = During(begin, end, Kind::kClaim, At(QuantJob::RUNNING, attempt, 0));
  operation.fence = fence;
  return operation;
}

Operation Finished(int64_t begin, int64_t end, int64_t fence, FinishedJob::Outcome outcome) {
  Operation operation = During(begin, end, Kind::kFinish);
  operation.fence = fence;
  operation.outcome = outcome;
  return operation;
}

// One of everything, with calls that overlap: two attempts, a cancel that comes too late, a deletion that is taken
// back. The mutations below name operations by their place.
JobHistory ALife() {
  JobHistory life = {
      During(1, 4, Kind::kSubmit, At(QuantJob::QUEUED, 0, 1)),                         // 0
      During(2, 6, Kind::kSubmit, At(QuantJob::QUEUED, 0, 1)),                         // 1: the same request id
      During(3, 5, Kind::kAbsent),                                                     // 2: before both took effect
      During(7, 8, Kind::kRead, At(QuantJob::QUEUED, 0, 1)),                           // 3
      Claimed(9, 12, 1, 1),                                                            // 4
      During(10, 11, Kind::kRead, At(QuantJob::RUNNING, 1, 2)),                        // 5
      During(13, 14, Kind::kDelete),                                                   // 6: refused
      Finished(15, 16, 1, FinishedJob::OUTCOME_RETURNED),                              // 7
      During(17, 18, Kind::kRead, At(QuantJob::QUEUED, 0, 3)),                         // 8
      Claimed(19, 20, 2, 1),                                                           // 9
      Finished(21, 22, 1, FinishedJob::OUTCOME_SUCCEEDED),                             // 10: refused, stale
      Finished(23, 28, 2, FinishedJob::OUTCOME_SUCCEEDED),                             // 11
      During(24, 27, Kind::kCancel, At(QuantJob::SUCCEEDED, 1, 5)),                    // 12: too late
      During(29, 30, Kind::kUndelete),                                                 // 13: refused
      During(31, 32, Kind::kDelete, At(QuantJob::SUCCEEDED, 1, 6, /*deleted=*/true)),  // 14
      During(33, 34, Kind::kAbsent),                                                   // 15: by a list
      During(35, 36, Kind::kUndelete, At(QuantJob::SUCCEEDED, 1, 7)),                  // 16
      During(37, 38, Kind::kRead, At(QuantJob::SUCCEEDED, 1, 7)),                      // 17
  };
  life[1].duplicate = true;
  for (const size_t refused : {6, 10, 13}) life[refused].answer = Answer::kRefused;
  life[15].hides_deleted = true;
  return life;
}

TEST(JobHistory, WhatMayHappenIsAccepted) {
  EXPECT_OK(CheckJobHistory({}));
  EXPECT_OK(CheckJobHistory(ALife()));
  EXPECT_OK(CheckRevisions(ALife()));
}

struct Mutation {
  const char* name;
  std::function<void(JobHistory&)> make;
};

const Mutation kMutations[] = {
    {"two jobs for one request id", [](JobHistory& h) { h[1].name = "tenants/default/jobs/job-b"; }},
    {"both submits say that they were first", [](JobHistory& h) { h[1].duplicate = false; }},
    {"no submit was first", [](JobHistory& h) { h[0].duplicate = true; }},
    {"an accepted job is not there", [](JobHistory& h) { h.push_back(During(7, 8, Kind::kAbsent)); }},
    {"a job nobody submitted", [](JobHistory& h) { h.erase(h.begin(), h.begin() + 2); }},
    {"a read of the past", [](JobHistory& h) { h[8].seen = At(QuantJob::RUNNING, 1, 2); }},
    {"a read of the future", [](JobHistory& h) { h[3].seen = At(QuantJob::RUNNING, 1, 2); }},
    {"an attempt that a return did not give back", [](JobHistory& h) { h[8].seen.attempt = 1; }},
    {"a fence that was given twice", [](JobHistory& h) { h[9].fence = 1; }},
    {"a fence that skips one", [](JobHistory& h) { h[9].fence = 3; }},
    {"a stale result that was accepted", [](JobHistory& h) { h[10].answer = Answer::kOk; }},
    {"a result that was refused although its fence is the newest",
     [](JobHistory& h) { h[11].answer = Answer::kRefused; }},
    {"a result of a job that was cancelled first",
     [](JobHistory& h) {
       h[11].begin = 27;  // after the cancel, which found it running
       h[12].end = 26;
       h[12].seen = At(QuantJob::CANCELLING, 1, 5);
     }},
    {"a terminal state that changed", [](JobHistory& h) { h[17].seen = At(QuantJob::CANCELLED, 1, 8); }},
    {"a cancelled job that runs on",
     [](JobHistory& h) { h.insert(h.begin() + 9, During(18, 19, Kind::kCancel, At(QuantJob::CANCELLED, 0, 4))); }},
    {"a running job that was deleted", [](JobHistory& h) { h[6].answer = Answer::kOk; }},
    {"an ended job that could not be deleted", [](JobHistory& h) { h[14].answer = Answer::kRefused; }},
    {"a deleted job in a list",
     [](JobHistory& h) { h[15] = During(33, 34, Kind::kRead, At(QuantJob::SUCCEEDED, 1, 6)); }},
    {"a deleted job that Get does not find", [](JobHistory& h) { h[15].hides_deleted = false; }},
    {"a job that was taken back but stayed away", [](JobHistory& h) { h[17].seen.deleted = true; }},
    {"a claim of a job that has ended", [](JobHistory& h) { h.push_back(Claimed(39, 40, 3, 2)); }},
};

TEST(JobHistory, EachBrokenPromiseIsNoticed) {
  for (const Mutation& mutation : kMutations) {
    JobHistory history = ALife();
    mutation.make(history);
    EXPECT_THAT(CheckJobHistory(history), FailsWith("NOT_LINEARIZABLE", "client")) << mutation.name;
  }
}

// An overlap leaves both orders open; without it one is left.
TEST(JobHistory, OnlyRealTimeOrderBinds) {
  const SeenJob queued = At(QuantJob::QUEUED, 0, 1);
  const SeenJob cancelled = At(QuantJob::CANCELLED, 0, 2);
  JobHistory history = {During(1, 2, Kind::kSubmit, queued), During(3, 6, Kind::kCancel, cancelled),
                        During(4, 5, Kind::kRead, queued)};
  EXPECT_OK(CheckJobHistory(history));
  history[2].seen = cancelled;
  EXPECT_OK(CheckJobHistory(history));
  history[2] = During(7, 8, Kind::kRead, queued);
  EXPECT_THAT(CheckJobHistory(history), FailsWith("NOT_LINEARIZABLE", "cancel"));
}

TEST(JobHistory, CallWithoutAnswerHappenedAtAnyTimeOrNever) {
  const SeenJob queued = At(QuantJob::QUEUED, 0, 1);
  Operation lost = During(1, kNever, Kind::kSubmit);
  lost.answer = Answer::kNone;
  lost.name.clear();
  Operation again = During(5, 6, Kind::kSubmit, queued);
  EXPECT_OK(CheckJobHistory({lost, again})) << "it never happened";
  again.duplicate = true;
  EXPECT_OK(CheckJobHistory({lost, again})) << "it happened before the second";
  EXPECT_OK(CheckJobHistory({lost, During(3, 4, Kind::kAbsent), again})) << "it happened late";
  lost.begin = 7;
  EXPECT_THAT(CheckJobHistory({lost, again}), FailsWith("NOT_LINEARIZABLE", "no answer")) << "not before it was sent";
}

TEST(JobHistory, LeaseMayBeLostOnceItExpired) {
  JobHistory history = {During(1, 2, Kind::kSubmit, At(QuantJob::QUEUED, 0, 1)), Claimed(3, 4, 1, 1),
                        During(5, kNever, Kind::kLose), Claimed(6, 7, 2, 2)};
  EXPECT_OK(CheckJobHistory(history));
  history[2].begin = 8;
  EXPECT_THAT(CheckJobHistory(history), FailsWith("NOT_LINEARIZABLE", "lose"));
}

TEST(JobHistory, RevisionsGrowAndStandForOneState) {
  JobHistory history = ALife();
  history[17].seen.revision = 4;
  EXPECT_THAT(CheckRevisions(history), FailsWith("REVISION_DISAGREES", "revision 4"));
  history = ALife();
  history[8].seen.revision = 2;
  EXPECT_THAT(CheckRevisions(history), FailsWith("REVISION_DISAGREES", "RUNNING"));
}

// Orders of one job, as a correct server would make them: each call takes effect at its own tick, and its begin and end
// lie at random around it, so that the checker does not know which was first.
JobHistory MadeHistory(uint32_t seed) {
  std::minstd_rand random(seed);
  QuantJob::State state = QuantJob::QUEUED;
  int64_t fence = 0;
  int attempt = 0;
  JobHistory history = {During(0, 1, Kind::kSubmit, At(state, 0, 1))};
  for (int64_t tick = 10; tick < 600; tick += 10) {
    Operation operation;
    switch (random() % 6) {
      case 0:
        operation = During(0, 0, Kind::kCancel);
        if (random() % 8 > 0) continue;
        if (state == QuantJob::QUEUED) state = QuantJob::CANCELLED;
        if (state == QuantJob::RUNNING) state = QuantJob::CANCELLING;
        operation.seen = At(state, attempt, tick);
        break;
      case 1:
        if (state != QuantJob::QUEUED) continue;
        state = QuantJob::RUNNING;
        operation = Claimed(0, 0, ++fence, ++attempt);
        break;
      case 2:
        if (fence == 0) continue;
        operation = Finished(0, 0, fence, FinishedJob::OUTCOME_RETURNED);
        if (state == QuantJob::RUNNING) {
          state = QuantJob::QUEUED;
          --attempt;
        } else if (state == QuantJob::CANCELLING) {
          state = QuantJob::CANCELLED;
        }
        break;
      default:
        operation = During(0, 0, Kind::kRead, At(state, attempt, tick));
    }
    operation.begin = std::max<int64_t>(2, tick - static_cast<int64_t>(random() % 30));
    operation.end = tick + 1 + static_cast<int64_t>(random() % 30);
    history.push_back(operation);
  }
  return history;
}

TEST(JobHistory, MadeHistoriesAreAcceptedAndSpoiledOnesAreNot) {
  for (uint32_t seed = 1; seed <= 200; ++seed) {
    JobHistory history = MadeHistory(seed);
    ASSERT_OK(CheckJobHistory(history)) << seed;
    std::minstd_rand random(seed);
    Operation& spoiled = history[1 + random() % (history.size() - 1)];
    spoiled = During(spoiled.begin, spoiled.end, Kind::kRead, At(QuantJob::SUCCEEDED, 1, 1));  // nobody made it so
    EXPECT_THAT(CheckJobHistory(history), FailsWith("NOT_LINEARIZABLE", "client")) << seed;
  }
}

}  // namespace
}  // namespace quantd
