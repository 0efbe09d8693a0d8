// ListQuantJobs: pages that stay in order while jobs come, filters, tokens that are bound to their arguments.
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "core/base/file_system.h"
#include "server/api/list_query.h"
#include "tests/server/daemon_fixture.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

using testing::ElementsAre;
using testing::ElementsAreArray;
using testing::IsEmpty;
using v1::QuantJob;

v1::ListQuantJobsRequest Page(int size, const std::string& token = "", const std::string& filter = "") {
  v1::ListQuantJobsRequest request;
  request.set_page_size(size);
  request.set_page_token(token);
  request.set_filter(filter);
  return request;
}

std::vector<std::string> Names(const v1::ListQuantJobsResponse& page) {
  std::vector<std::string> names;
  for (const QuantJob& job : page.jobs()) names.push_back(job.name());
  return names;
}

class ListTest : public DaemonTest {
 protected:
  std::vector<std::string> Filtered(const std::string& filter) {
    const auto page = List(Page(0, "", filter));
    EXPECT_OK(page);
    return page.ok() ? Names(*page) : std::vector<std::string>();
  }
};

TEST_F(ListTest, NewestFirstInPagesOfAnySize) {
  std::vector<std::string> newest_first;
  for (int i = 0; i < 7; ++i) newest_first.insert(newest_first.begin(), Submitted());
  for (const int size : {1, 2, 3, 6, 7, 8, 1000, 1'000'000, 0}) {
    std::vector<std::string> all;
    std::string token;
    do {
      ASSERT_OK_AND_ASSIGN(const auto page, List(Page(size, token)));
      const std::vector<std::string> names = Names(page);
      EXPECT_LE(names.size(), size > 0 ? static_cast<size_t>(size) : 50);
      all.insert(all.end(), names.begin(), names.end());
      token = page.next_page_token();
    } while (!token.empty() && all.size() <= newest_first.size());
    EXPECT_THAT(all, ElementsAreArray(newest_first)) << "page size " << size;
  }
}

TEST_F(ListTest, PagesAreStableWhileJobsComeAndChange) {
  std::vector<std::string> names;
  for (int i = 0; i < 4; ++i) names.push_back(Submitted());
  ASSERT_OK_AND_ASSIGN(const auto first, List(Page(2)));
  EXPECT_THAT(Names(first), ElementsAre(names[3], names[2]));
  Submitted();
  ASSERT_OK(Cancel(names[1]));
  ASSERT_OK(Cancel(names[2]));
  ASSERT_OK_AND_ASSIGN(const auto second, List(Page(2, first.next_page_token())));
  EXPECT_THAT(Names(second), ElementsAre(names[1], names[0]));
  EXPECT_EQ(second.next_page_token(), "");
  Start();
  ASSERT_OK_AND_ASSIGN(const auto again, List(Page(2, first.next_page_token())));
  EXPECT_THAT(Names(again), ElementsAre(names[1], names[0])) << "a token outlives the server";
}

TEST_F(ListTest, FiltersCombine) {
  ASSERT_OK(RealFileSystem().CreateDirectories(config_.model_root + "/team/a b"));
  const std::string a = Submitted("gptq", "m");
  const std::string b = Submitted("rtn", "m");
  const std::string c = Submitted("rtn", "team/a b");
  ASSERT_OK(Cancel(a));
  EXPECT_THAT(Filtered(""), ElementsAre(c, b, a));
  EXPECT_THAT(Filtered("  "), ElementsAre(c, b, a));
  EXPECT_THAT(Filtered("state = QUEUED"), ElementsAre(c, b));
  EXPECT_THAT(Filtered("state=CANCELLED"), ElementsAre(a));
  EXPECT_THAT(Filtered("recipe = gptq OR rtn"), ElementsAre(c, b, a));
  EXPECT_THAT(Filtered("model = \"team/a b\""), ElementsAre(c));
  EXPECT_THAT(Filtered("state = QUEUED OR RUNNING AND recipe = rtn AND model = m"), ElementsAre(b));
  EXPECT_THAT(Filtered("state = FAILED"), IsEmpty());
  EXPECT_THAT(Filtered("recipe = \"' OR 1=1 --\""), IsEmpty());
}

TEST_F(ListTest, FilterAppliesToEveryPage) {
  std::vector<std::string> expected;
  for (int i = 0; i < 6; ++i) {
    const std::string name = Submitted(i % 2 == 0 ? "gptq" : "rtn");
    if (i % 2 == 0) expected.insert(expected.begin(), name);
  }
  ASSERT_OK_AND_ASSIGN(const auto first, List(Page(2, "", "recipe = gptq")));
  EXPECT_THAT(Names(first), ElementsAre(expected[0], expected[1]));
  ASSERT_OK_AND_ASSIGN(const auto second, List(Page(2, first.next_page_token(), "recipe = gptq")));
  EXPECT_THAT(Names(second), ElementsAre(expected[2]));
}

TEST_F(ListTest, TokensFitNoOtherRequest) {
  for (int i = 0; i < 3; ++i) Submitted();
  ASSERT_OK_AND_ASSIGN(const auto first, List(Page(1)));
  const std::string token = first.next_page_token();
  EXPECT_OK(List(Page(2, token))) << "another page size is fine";
  v1::ListQuantJobsRequest named = Page(1, token);
  named.set_parent("tenants/default");
  EXPECT_OK(List(named)) << "the same parent, spelled out";
  EXPECT_THAT(List(Page(1, token, "recipe = gptq")), FailsWith("PAGE_TOKEN_INVALID", "same parent and filter"));
  const std::string tail = token.substr(token.find('-'));
  for (const std::string& bad :
       {std::string("x"), std::string("-"), std::string("1"), "1" + tail, "-1" + tail, token + "-1",
        token.substr(0, token.size() - 1), std::string("99999999999999999999") + tail, std::string(100'000, 'a')}) {
    const auto refused = List(Page(1, bad));
    EXPECT_THAT(refused, FailsWith("PAGE_TOKEN_INVALID", "begin again")) << bad.substr(0, 50);
    EXPECT_EQ(FieldOf(refused.status()), "page_token");
  }
}

TEST(ListQuery, MalformedFiltersSayWhatIsExpected) {
  struct Row {
    std::string filter;
    const char* says;
  };
  std::string many = "model = m0";
  for (int i = 1; i <= 32; ++i) absl::StrAppend(&many, " OR m", i);
  const Row rows[] = {
      {"state", "expected '=' after 'state'"},
      {"state =", "a value for 'state' is missing"},
      {"state = = QUEUED", "a value for 'state' is missing"},
      {"state = AND recipe = rtn", "a value for 'state' is missing"},
      {"state = SLEEPING", "'SLEEPING' is no state"},
      {"state = queued", "'queued' is no state"},
      {"state = STATE_UNSPECIFIED", "is no state"},
      {"state = QUEUED recipe = rtn", "expected AND before 'recipe'"},
      {"state = QUEUED AND", "'' is no key"},
      {"state = QUEUED AND state = FAILED", "'state' is there twice"},
      {"owner = me", "'owner' is no key"},
      {"model = \"open", "a quote is not closed"},
      {"model = a; DROP TABLE jobs", "';' is not expected"},
      {"(state = QUEUED)", "'(' is not expected"},
      {many, "more than 32 values"},
      {"model = " + std::string(2000, 'a'), "longer than 1024 bytes"},
  };
  for (const Row& row : rows) {
    JobQuery query;
    const absl::Status status = ParseFilter(row.filter, query);
    EXPECT_THAT(status, FailsWith("FILTER_INVALID", row.says)) << row.filter;
    EXPECT_EQ(FieldOf(status), "filter");
  }
}

TEST(ListQuery, OrBindsTighterThanAnd) {
  JobQuery query;
  ASSERT_OK(ParseFilter("recipe = a OR b AND state = QUEUED OR FAILED", query));
  EXPECT_THAT(query.presets, ElementsAre("a", "b"));
  EXPECT_THAT(query.states, ElementsAre(QuantJob::QUEUED, QuantJob::FAILED));
}

TEST(ListQuery, PageSizesHaveADefaultAndACap) {
  for (const auto& [asked, limit] : {std::pair(0, 51), {1, 2}, {1000, 1001}, {1001, 1001}, {INT32_MAX, 1001}}) {
    ASSERT_OK_AND_ASSIGN(const JobQuery query, ParseListRequest(Page(asked)));
    EXPECT_EQ(query.tenant, "default");
    EXPECT_EQ(query.limit, limit) << "one more than the page, to see whether there is a next one";
  }
  EXPECT_THAT(ParseListRequest(Page(-1)), FailsWith("PAGE_SIZE_INVALID", "page_size is -1"));
}

}  // namespace
}  // namespace quantd
