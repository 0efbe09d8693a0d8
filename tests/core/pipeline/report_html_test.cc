// The page: well-formed, complete, needs nothing from elsewhere, and shows hostile names as text.
#include <gmock/gmock.h>

#include <limits>
#include <set>
#include <vector>

#include "core/pipeline/report_html_plots.h"
#include "core/pipeline/report_html_svg.h"
#include "core/pipeline/report_html_text.h"
#include "tests/core/pipeline/sample_report.h"

namespace quantd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

// The first problem of tag nesting, or "".
std::string NestingProblem(const std::string& html) {
  const std::set<std::string> empty_elements = {"meta", "!DOCTYPE"};
  std::vector<std::string> open;
  for (size_t at = html.find('<'); at != std::string::npos; at = html.find('<', at + 1)) {
    const size_t end = html.find('>', at);
    if (end == std::string::npos) return "a tag does not end";
    const std::string tag = html.substr(at + 1, end - at - 1);
    const std::string name = tag.substr(0, tag.find_first_of(" /", 1));
    if (tag.ends_with("/") || empty_elements.count(name) > 0) continue;
    if (tag[0] != '/') {
      open.push_back(name);
    } else if (open.empty() || "/" + open.back() != tag) {
      return "<" + tag + "> closes " + (open.empty() ? "nothing" : open.back());
    } else {
      open.pop_back();
    }
  }
  return open.empty() ? "" : open.back() + " stays open";
}

int Count(const std::string& text, const std::string& part) {
  int count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

TEST(ReportHtml, IsWellFormed) {
  EXPECT_EQ(NestingProblem(ReportHtml(SampleReport())), "");
  EXPECT_EQ(NestingProblem(ReportHtml(Report())), "");
}

TEST(ReportHtml, NeedsNothingFromElsewhere) {
  const std::string html = ReportHtml(SampleReport());
  for (const char* reference : {"http:", "https:", "src=", "href=", "url(", "@import", "<script", "<link"}) {
    EXPECT_THAT(html, Not(HasSubstr(reference)));
  }
}

TEST(ReportHtml, ShowsEveryPart) {
  const std::string html = ReportHtml(SampleReport());
  EXPECT_EQ(Count(html, "<svg "), 4);
  EXPECT_EQ(Count(html, "<tr><th scope=\"row\">"), 42);
  for (const char* part :
       {"3.9× smaller, perplexity 56.83 → 57.91 (+1.9 % ± 0.3 %)", "slightly worse than the original", "4.53", "plain",
        "The calibration text is short.", "no speed-up is claimed", "rounded to nearest instead",
        "no effect on the loss of the calibration text: rounded to nearest", "Sensitivity: input, options.",
        "damped more, 2 times", "1,234 inputs never used", "&quot;bits&quot;: 4", "each begins with BOS",
        "32,704 predicted tokens"}) {
    EXPECT_THAT(html, HasSubstr(part));
  }
  for (const char digest : {'a', 'b', 'c', 'd'}) EXPECT_THAT(html, HasSubstr(std::string(64, digest)));
}

TEST(ReportHtml, WithoutEvaluationSaysSo) {
  Report report = SampleReport();
  report.evaluation.reset();
  const std::string html = ReportHtml(report);
  EXPECT_EQ(Count(html, "<svg "), 2);
  EXPECT_THAT(html, HasSubstr("was not measured"));
}

TEST(ReportHtml, WordsFollowTheMeasuredRatio) {
  struct Row {
    double change, error;
    const char* words;
  };
  for (const Row& row : std::vector<Row>{{0.001, 0.001, "can be told from chance"},
                                         {0.005, 0.001, "hardly worse"},
                                         {0.1, 0.01, "noticeably worse"},
                                         {2.5, 0.01, "much worse"},
                                         {-0.1, 0.01, "no worse than"},
                                         {std::numeric_limits<double>::infinity(), 0.01, "unusable"}}) {
    Report report = SampleReport();
    report.evaluation->comparison.log_perplexity_ratio = row.change;
    report.evaluation->comparison.log_perplexity_ratio_error = row.error;
    EXPECT_THAT(ReportHtml(report), HasSubstr(row.words)) << row.change;
  }
}

TEST(ReportHtml, HostileTextStaysText) {
  const std::string hostile = "\"><script>alert('x')</script>\x01&";
  Report report = SampleReport();
  report.preset = report.recipe_json = report.model.name = report.model.architecture = report.model.sha256 = hostile;
  report.calibration->text = report.calibration->text_sha256 = hostile;
  ReportEvaluation& evaluation = *report.evaluation;
  evaluation.text = evaluation.text_sha256 = evaluation.protocol = evaluation.token_stream_sha256 = hostile;
  report.layers[0].name = report.layers[0].scheme = report.layers[0].sensitivity = hostile;
  report.skipped_layers = report.exports = report.warnings = {hostile};
  report.counters[hostile] = 1;
  report.phase_seconds[hostile] = 1;
  report.speed->kernel = report.speed->isa = hostile;
  const std::string html = ReportHtml(report);
  EXPECT_THAT(html, Not(HasSubstr("<script")));
  EXPECT_THAT(html, Not(HasSubstr("\"&gt;&lt;script")));
  EXPECT_THAT(html, Not(HasSubstr("\x01")));
  EXPECT_EQ(NestingProblem(html), "");
}

TEST(ReportHtml, ValuesThatAreNotFiniteNeverReachACoordinate) {
  const double infinity = std::numeric_limits<double>::infinity();
  Report report = SampleReport();
  report.evaluation->comparison.quantized.perplexity = infinity;
  report.evaluation->comparison.kl.mean = infinity;
  report.evaluation->comparison.kl.p99 = std::numeric_limits<double>::quiet_NaN();
  report.layers[0].relative_output_error = infinity;
  report.layers[1].relative_output_error = std::numeric_limits<double>::quiet_NaN();
  report.layers[2].bits_per_weight = infinity;
  const std::string html = ReportHtml(report);
  for (const char* bad : {"\"inf", "\"nan", "\"-inf", "\"-nan"}) EXPECT_THAT(html, Not(HasSubstr(bad)));
  EXPECT_EQ(Count(html, "<svg "), 3);  // no plot of an infinite perplexity
}

TEST(ErrorPlot, ShowsTheWorstOfTheLayersThatShareACell) {
  std::vector<ReportLayer> layers(2);
  layers[0].name = "model.layers.0.experts.0.w1";
  layers[0].relative_output_error = 0.5;
  layers[1].name = "model.layers.0.experts.1.w1";
  layers[1].relative_output_error = 0.25;
  const std::string plot = ErrorPlot(layers);
  EXPECT_THAT(plot, HasSubstr("experts.0.w1: 0.5"));
  EXPECT_THAT(plot, Not(HasSubstr("experts.1.w1")));
}

TEST(KlPlot, IsEmptyWithoutDivergence) {
  KlSummary kl;
  kl.histogram = MakeKlHistogram(std::vector<double>{0, 0, 0});
  EXPECT_EQ(KlPlot(kl), "");
  EXPECT_EQ(KlPlot(KlSummary()), "");
}

TEST(Ticks, AreRoundNumbersInside) {
  EXPECT_THAT(Ticks(0, 10, 5), ElementsAre(0, 2, 4, 6, 8, 10));
  EXPECT_THAT(Ticks(56.2, 58.1, 4), ElementsAre(56.5, 57, 57.5, 58));
  EXPECT_TRUE(Ticks(1, 1, 5).empty());
  EXPECT_LE(Ticks(1e16, 1e16 + 2, 5).size(), 11);
}

TEST(HtmlText, FormatsFigures) {
  EXPECT_EQ(Figure(56.8283), "56.83");
  EXPECT_EQ(Figure(0.0011684, 3), "0.00117");
  EXPECT_EQ(Figure(1.5e-9, 2), "1.5e-09");
  EXPECT_EQ(Figure(0), "0.000");
  EXPECT_EQ(Figure(std::numeric_limits<double>::infinity()), "∞");
  EXPECT_EQ(Figure(std::numeric_limits<double>::quiet_NaN()), "undefined");
  EXPECT_EQ(SignedFigure(-1.25, 2), "−1.2");
  EXPECT_EQ(Grouped(999), "999");
  EXPECT_EQ(Grouped(-1234567), "-1,234,567");
  EXPECT_EQ(Bytes(999), "999 B");
  EXPECT_EQ(Bytes(12300000), "12.3 MB");
  EXPECT_EQ(Percent(0.9103), "91.03\u00A0%");
  EXPECT_EQ(HtmlEscape("a<b>&\"'\x02"), "a&lt;b&gt;&amp;&quot;&#39;\xEF\xBF\xBD");
}

}  // namespace
}  // namespace quantd
