#include "core/objects/xml.h"

#include <gtest/gtest.h>

#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

TEST(Xml, ElementsAndTextAreRead) {
  ASSERT_OK_AND_ASSIGN(const XmlElement root,
                       ParseXml("\n<?xml version=\"1.0\"?>\n<s3:List xmlns:s3='u>v'><Key a=\"</Key>\">x&amp;&#65;"
                                "&#x2F;&quot;</Key><Empty/><Key>second</Key></s3:List>\n"));
  EXPECT_EQ(root.name, "List");
  ASSERT_EQ(root.children.size(), 3u);
  EXPECT_EQ(root.TextOf("Key"), "x&A/\"");
  EXPECT_EQ(root.TextOf("Empty"), "");
  EXPECT_EQ(root.Find("Absent"), nullptr);
  EXPECT_EQ(ParseXml("<a>" + XmlEscape("<\"&'>") + "</a>")->text, "<\"&'>");
}

TEST(Xml, BadTextIsRefused) {
  std::string deep;
  for (int i = 0; i < 9; ++i) deep += "<a>";
  std::string many = "<a>";
  for (int i = 0; i < 100'001; ++i) many += "<b/>";
  const std::pair<std::string, const char*> rows[] = {
      {"", "should begin"},
      {"text", "should begin"},
      {"<", "no name"},
      {"<a", "does not end"},
      {"<a>", "does not end"},
      {"<a></b>", "does not match"},
      {"<a></a><b/>", "follows"},
      {"<a>&nope;</a>", "unknown"},
      {"<a>&#0;</a>", "unknown"},
      {"<a>&#300;</a>", "unknown"},
      {"<a>&amp</a>", "does not end"},
      {"<a b=\"></a>", "does not end"},
      {"<a <b></a>", "within a tag"},
      {deep, "too deeply"},
      {many, "too many"},
      {"<!DOCTYPE a><a/>", "no name"},
      {"<a><!-- --></a>", "no name"},
      {std::string("<\0>", 3), "no name"},
  };
  for (const auto& [text, what] : rows) {
    EXPECT_THAT(ParseXml(text), FailsWith("OBJECT_ANSWER_MALFORMED", what)) << text.substr(0, 40);
  }
}

TEST(Xml, EveryBeginningOfAnAnswerIsRefused) {
  const std::string text = "<?xml version=\"1.0\"?><L><C><Key>a&amp;b</Key><Size>1</Size></C></L>";
  ASSERT_OK(ParseXml(text));
  for (size_t size = 0; size < text.size(); ++size) EXPECT_FALSE(ParseXml(text.substr(0, size)).ok()) << size;
}

}  // namespace
}  // namespace quantd
