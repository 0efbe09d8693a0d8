#include "core/formats/load_certificate.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

TEST(LoadCertificate, EqualValuesAreExact) {
  LoadCertificate certificate;
  certificate.consumer = "gptq";
  certificate.layout = "gptq_v2";
  certificate.rules = {"all four tensors"};
  certificate.Compare("a", {1, -2}, {1, -2});
  certificate.Compare("a", {0}, {-0.0f});
  certificate.Compare("b", {3}, {3});
  EXPECT_TRUE(certificate.exact());
  EXPECT_EQ(certificate.ToJson(), Json::parse(R"({"consumer": "gptq", "layout": "gptq_v2",
      "rules": ["all four tensors"], "modules": 2, "values": 4, "different_values": 0, "exact": true})"));
}

TEST(LoadCertificate, TheWorstErrorsAreKept) {
  LoadCertificate certificate;
  certificate.Compare("a", {1, 2, 100}, {1, 2.5f, 100});
  certificate.Compare("b", {4, 100}, {4, 101});
  certificate.Compare("c", {8}, {8.5f});
  EXPECT_FALSE(certificate.exact());
  EXPECT_EQ(certificate.different_values, 3);
  EXPECT_EQ(certificate.worst_absolute_error, 1);
  EXPECT_EQ(certificate.worst_module, "b");
  EXPECT_EQ(certificate.worst_relative_error, 0.25) << "of module a";
  EXPECT_EQ(certificate.ToJson()["worst_module"], "b");
}

TEST(LoadCertificate, WhatCannotBeComparedIsInfinitelyWrong) {
  LoadCertificate certificate;
  certificate.Compare("a", {1, 0}, {std::nanf(""), 1});
  EXPECT_EQ(certificate.different_values, 2);
  EXPECT_TRUE(std::isinf(certificate.worst_absolute_error));
  EXPECT_EQ(certificate.ToJson()["worst_absolute_error"], "infinite");
  EXPECT_EQ(certificate.ToJson()["worst_relative_error"], "infinite");
}

}  // namespace
}  // namespace quantd
