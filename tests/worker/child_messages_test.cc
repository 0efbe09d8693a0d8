#include "worker/agent/child_messages.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "tests/testing/status_matchers.h"
#include "worker/agent/child_run.h"

namespace quantd {
namespace {

using News = ChildMessages::News;

TEST(LineSplitter, JoinsPiecesAndDropsLinesThatAreTooLong) {
  LineSplitter splitter;
  EXPECT_TRUE(splitter.Add("ab").empty());
  EXPECT_THAT(splitter.Add("c\nd\n\ne"), testing::ElementsAre("abc", "d", ""));
  const std::string piece(kMaxMessageBytes / 2 + 1, 'x');
  EXPECT_TRUE(splitter.Add(piece).empty());
  EXPECT_TRUE(splitter.Add(piece).empty());
  EXPECT_THAT(splitter.Add("\nnext\n"), testing::ElementsAre("next"));
}

TEST(LogTail, KeepsTheEndFromALineOn) {
  LogTail tail;
  tail.Add("short\n");
  EXPECT_EQ(tail.Text(), "short\n");
  for (int i = 0; i < 5000; ++i) tail.Add("line " + std::to_string(i) + "\n");
  EXPECT_LE(tail.Text().size(), kLogTailBytes);
  EXPECT_GT(tail.Text().size(), kLogTailBytes - 20);
  EXPECT_THAT(tail.Text(), testing::StartsWith("line "));
  EXPECT_THAT(tail.Text(), testing::EndsWith("line 4999\n"));
}

TEST(LogTail, ALineLongerThanItsSizeIsCut) {
  LogTail tail;
  tail.Add(std::string(3 * kLogTailBytes, 'x'));
  EXPECT_EQ(tail.Text(), std::string(kLogTailBytes, 'x'));
}

struct Utf8Row {
  const char* bytes;
  const char* expected;
};
constexpr Utf8Row kUtf8[] = {
    {"plain", "plain"},
    {"\xc3\xa4\xe2\x82\xac\xf0\x9f\x99\x82", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x99\x82"},
    {"a\xff"
     "b",
     "a?b"},
    {"\xc3", "?"},  // cut off
    {"\xe2\x82"
     "x",
     "??x"},                       // cut off before another character
    {"\xc0\xaf", "??"},            // overlong '/'
    {"\xe0\x80\xaf", "???"},       // overlong
    {"\xed\xa0\x80", "???"},       // surrogate
    {"\xf4\x90\x80\x80", "????"},  // above U+10FFFF
    {"\xf0\x8f\xbf\xbf", "????"},  // overlong
};

TEST(ValidUtf8, ReplacesOnlyWhatIsInvalid) {
  for (const Utf8Row& row : kUtf8) EXPECT_EQ(ValidUtf8(row.bytes), row.expected) << row.bytes;
}

TEST(ChildMessages, ProgressKeepsWhatALineLeavesOut) {
  ChildMessages messages;
  EXPECT_EQ(News::kProgress,
            messages.AddLine(
                R"({"phase":"quantize","block":3,"blocks":12,"layer":"l.3.up","fraction":0.25,"eta_seconds":42.5})"));
  EXPECT_EQ(News::kProgress, messages.AddLine(R"({"phase":"quantize","block":4})"));
  EXPECT_EQ(messages.progress().block(), 4);
  EXPECT_EQ(messages.progress().blocks(), 12);
  EXPECT_EQ(messages.progress().layer(), "l.3.up");
  EXPECT_EQ(messages.progress().fraction(), 0.25);
  EXPECT_EQ(messages.progress().eta_seconds(), 42.5);
  EXPECT_EQ(News::kProgress, messages.AddLine(R"({"phase":"pack"})"));
  EXPECT_EQ(messages.progress().layer(), "") << "belongs to the phase before";
  EXPECT_EQ(messages.progress().block(), 0);
}

TEST(ChildMessages, TheFractionNeverFallsNorLeavesItsRange) {
  ChildMessages messages;
  messages.AddLine(R"({"phase":"a","fraction":0.5})");
  messages.AddLine(R"({"phase":"a","fraction":0.25})");
  EXPECT_EQ(messages.progress().fraction(), 0.5);
  messages.AddLine(R"({"phase":"a","fraction":-1})");
  EXPECT_EQ(messages.progress().fraction(), 0.5);
  messages.AddLine(R"({"phase":"b","fraction":7,"block":-3,"blocks":99999999999,"eta_seconds":-1})");
  EXPECT_EQ(messages.progress().fraction(), 1.0);
  EXPECT_EQ(messages.progress().block(), 0);
  EXPECT_EQ(messages.progress().blocks(), INT32_MAX);
  EXPECT_EQ(messages.progress().eta_seconds(), 0);
}

TEST(ChildMessages, IgnoresWhatItDoesNotUnderstand) {
  ChildMessages messages;
  for (const char* line : {"", "noise", "[1]", "3", "{}", R"({"fraction":1})", R"({"error":"text"})",
                           R"({"checkpoint":7})", R"({"checkpoint":{"block":1}})", R"({"checkpoint":{"files":[7]}})",
                           "{\"phase\":", R"({"phase":"a","phase":"b"})"}) {
    EXPECT_EQ(News::kNothing, messages.AddLine(line)) << line;
  }
  EXPECT_FALSE(messages.error().has_value());
  EXPECT_EQ(messages.progress().phase(), "");
}

TEST(ChildMessages, AWrongTypeSpoilsOnlyItsOwnField) {
  ChildMessages messages;
  EXPECT_EQ(News::kProgress, messages.AddLine(R"({"phase":"a","block":"x","layer":7,"fraction":0.5})"));
  EXPECT_EQ(messages.progress().phase(), "a");
  EXPECT_EQ(messages.progress().fraction(), 0.5);
  EXPECT_EQ(messages.progress().layer(), "");
}

TEST(ChildMessages, AnErrorHasAReasonAndNamesItsFieldOnce) {
  ChildMessages messages;
  EXPECT_EQ(News::kError, messages.AddLine(R"({"error":{"reason":"R","message":"too wide","field":"spec.recipe"}})"));
  EXPECT_EQ(messages.error()->reason(), "R");
  EXPECT_EQ(messages.error()->message(), "spec.recipe: too wide");
  EXPECT_EQ(News::kError,
            messages.AddLine(R"({"error":{"reason":"R","message":"spec.recipe is wide","field":"spec.recipe"}})"));
  EXPECT_EQ(messages.error()->message(), "spec.recipe is wide");
  EXPECT_EQ(News::kError, messages.AddLine(R"({"error":{}})"));
  EXPECT_EQ(messages.error()->reason(), "JOB_FAILED");
  EXPECT_NE(messages.error()->message(), "");
}

TEST(ChildMessages, ACheckpointNamesItsFilesAndWhereItIs) {
  ChildMessages messages;
  EXPECT_EQ(
      News::kCheckpoint,
      messages.AddLine(R"({"checkpoint":{"generation":7,"phase":"quantize","block":3,"blocks":6,"size_bytes":12,)"
                       R"("fingerprint":"f","files":[{"path":"checkpoint.json","size_bytes":12,"sha256":"d"}]}})"));
  const v1::Checkpoint& checkpoint = *messages.checkpoint();
  EXPECT_EQ(checkpoint.summary().block(), 3);
  EXPECT_EQ(checkpoint.summary().blocks(), 6);
  EXPECT_EQ(checkpoint.summary().phase(), "quantize");
  EXPECT_EQ(checkpoint.summary().size_bytes(), 12);
  EXPECT_EQ(checkpoint.fingerprint(), "f");
  ASSERT_EQ(checkpoint.files_size(), 1);
  EXPECT_EQ(checkpoint.files(0).path(), "checkpoint.json");
  EXPECT_EQ(checkpoint.files(0).size_bytes(), 12);
  EXPECT_EQ(checkpoint.files(0).sha256(), "d");
}

TEST(ChildMessages, FilesOutsideTheCheckpointAreNotTaken) {
  ChildMessages messages;
  for (const char* path : {"../x", "a/b", "/etc/passwd", ".hidden", "", "a b"}) {
    const std::string line = absl::StrCat(R"({"checkpoint":{"files":[{"path":")", path, R"("}]}})");
    EXPECT_EQ(News::kNothing, messages.AddLine(line)) << path;
  }
  EXPECT_FALSE(messages.checkpoint().has_value());
}

TEST(ChildMessages, SaysWhetherItWentOnFromACheckpoint) {
  ChildMessages messages;
  EXPECT_EQ(News::kResumed, messages.AddLine(R"({"resumed":{"block":4,"blocks":6,"phase":"quantize"}})"));
  EXPECT_EQ(messages.resumed()->block(), 4);
  EXPECT_EQ(messages.refusal(), "");
  EXPECT_EQ(News::kRefused, messages.AddLine(R"({"checkpoint_refused":{"message":"another build"}})"));
  EXPECT_EQ(messages.refusal(), "another build");
}

TEST(FailureOf, AnErrorLineOutranksTheSignalThatCameAfter) {
  ChildEnd end;
  end.status.signal = 11;
  end.error.emplace();
  end.error->set_reason("MEMORY_EXHAUSTED");
  const v1::JobError error = FailureOf(end);
  EXPECT_EQ(error.reason(), "MEMORY_EXHAUSTED");
  EXPECT_EQ(error.signal(), 11);
}

TEST(FailureOf, ExitCode130MeansSomebodyElseStoppedIt) {
  ChildEnd end;
  end.status.exit_code = 130;
  for (const char* said : {"", "CANCELLED"}) {
    if (*said != '\0') end.error.emplace().set_reason(said);
    const v1::JobError error = FailureOf(end);
    EXPECT_EQ(error.reason(), "CHILD_KILLED") << said;
    EXPECT_THAT(error.message(), testing::HasSubstr("SIGTERM")) << said;
    EXPECT_THAT(error.message(), testing::HasSubstr("not by its worker")) << said;
    EXPECT_EQ(error.exit_code(), 130) << said;
  }
  end.error->set_reason("DISK_FULL");
  EXPECT_EQ(FailureOf(end).reason(), "DISK_FULL") << "it had a reason of its own";
}

}  // namespace
}  // namespace quantd
