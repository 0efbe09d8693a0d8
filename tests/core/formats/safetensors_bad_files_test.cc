// Every rule of docs/formats/safetensors.md, broken once.
#include <sys/resource.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/file_system.h"
#include "core/formats/safetensors.h"
#include "tests/core/formats/safetensors_files.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

constexpr char kMalformed[] = "SAFETENSORS_HEADER_MALFORMED";
constexpr size_t kDataBytes = 8;

struct BadHeader {
  const char* name;
  const char* header;    // after a correct length; eight bytes of data follow
  const char* reason;    // expected stable reason
  const char* mentions;  // tensor, field or limit in the message
};

// clang-format off
constexpr BadHeader kBadHeaders[] = {
    {"EmptyHeader", "", kMalformed, "begin with '{'"},
    {"NotJson", "{hello}", kMalformed, "not valid JSON"},
    {"CutOff", R"({"w":{"dtype":"F32")", kMalformed, "not valid JSON"},
    {"Array", R"([1,2])", kMalformed, "begin with '{'"},
    {"LeadingSpace", R"( {"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", kMalformed, "begin with '{'"},
    {"TextAfterTheObject", R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}} x)", kMalformed, "not valid JSON"},
    {"NotUtf8", "{\"w\xff\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", kMalformed, "not valid JSON"},
    {"NotANumber", R"({"w":{"dtype":"F32","shape":[NaN],"data_offsets":[0,8]}})", kMalformed, "not valid JSON"},
    {"NestedTooDeep",
     "{\"w\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[0]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}",
     kMalformed, "deeper than 64"},
    {"DuplicateName", R"({"w":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},"w":{"dtype":"U8","shape":[0],"data_offsets":[8,8]}})",
     "TENSOR_DUPLICATE", "'w'"},
    {"EntryIsNoObject", R"({"w":7})", kMalformed, "'w'"},
    {"NoDtype", R"({"w":{"shape":[2],"data_offsets":[0,8]}})", kMalformed, "no dtype"},
    {"NoShape", R"({"w":{"dtype":"F32","data_offsets":[0,8]}})", kMalformed, "no shape"},
    {"NoOffsets", R"({"w":{"dtype":"F32","shape":[2]}})", kMalformed, "data_offsets"},
    {"DtypeIsANumber", R"({"w":{"dtype":32,"shape":[2],"data_offsets":[0,8]}})", kMalformed, "no dtype"},
    {"DtypeUnknown", R"({"w":{"dtype":"F31","shape":[2],"data_offsets":[0,8]}})", "TENSOR_DTYPE_UNKNOWN", "does not exist"},
    {"DtypeNotRead", R"({"w":{"dtype":"F8_E4M3","shape":[8],"data_offsets":[0,8]}})", "TENSOR_DTYPE_UNKNOWN", "not supported"},
    {"DtypeBelowAByte", R"({"w":{"dtype":"F4","shape":[3],"data_offsets":[0,8]}})", "TENSOR_DTYPE_UNKNOWN", "F4"},
    {"ShapeIsANumber", R"({"w":{"dtype":"F32","shape":2,"data_offsets":[0,8]}})", kMalformed, "no shape"},
    {"NegativeDimension", R"({"w":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})", kMalformed, "shape must hold"},
    {"FloatDimension", R"({"w":{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}})", kMalformed, "shape must hold"},
    {"TextDimension", R"({"w":{"dtype":"F32","shape":["2"],"data_offsets":[0,8]}})", kMalformed, "shape must hold"},
    {"DimensionOf2To63", R"({"w":{"dtype":"U8","shape":[9223372036854775808],"data_offsets":[0,8]}})", kMalformed, "2^63-1"},
    {"DimensionBeyond64Bits", R"({"w":{"dtype":"U8","shape":[18446744073709551624],"data_offsets":[0,8]}})", kMalformed, "2^63-1"},
    {"ShapeOverflows", R"({"w":{"dtype":"F32","shape":[4294967296,4294967296,4],"data_offsets":[0,8]}})", "TENSOR_TOO_LARGE", "4294967296"},
    // 2^61 elements of 8 bytes wrap around to 0 bytes where the product is not checked.
    {"ShapeOverflowsByDtype", R"({"w":{"dtype":"F64","shape":[2305843009213693952],"data_offsets":[0,0]}})", "TENSOR_TOO_LARGE", "'w'"},
    {"OneOffset", R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[0]}})", kMalformed, "two numbers"},
    {"ThreeOffsets", R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8,8]}})", kMalformed, "two numbers"},
    {"NegativeOffset", R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[-8,0]}})", kMalformed, "data_offsets must hold"},
    {"FloatOffset", R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8.0]}})", kMalformed, "data_offsets must hold"},
    {"BeginAfterEnd", R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", "TENSOR_OUTSIDE_FILE", "8..0"},
    {"EndOutsideFile", R"({"w":{"dtype":"F32","shape":[2500],"data_offsets":[0,10000]}})", "TENSOR_OUTSIDE_FILE", "has 8 bytes"},
    {"SizeAboveShape", R"({"w":{"dtype":"F32","shape":[1],"data_offsets":[0,8]}})", "TENSOR_SIZE_MISMATCH", "needs 4"},
    {"SizeBelowShape", R"({"w":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", "TENSOR_SIZE_MISMATCH", "needs 12"},
    {"HoleAtTheStart", R"({"w":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", "TENSORS_NOT_CONTIGUOUS", "begins at byte 4"},
    {"HoleBetween", R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})",
     "TENSORS_NOT_CONTIGUOUS", "'b'"},
    {"Overlap", R"({"a":{"dtype":"U8","shape":[5],"data_offsets":[0,5]},"b":{"dtype":"U8","shape":[5],"data_offsets":[3,8]}})",
     "TENSORS_NOT_CONTIGUOUS", "'b'"},
    {"SameBytesTwice", R"({"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},"b":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}})",
     "TENSORS_NOT_CONTIGUOUS", "'b'"},
    {"TrailingByte", R"({"w":{"dtype":"U8","shape":[7],"data_offsets":[0,7]}})", "TENSORS_NOT_CONTIGUOUS", "1 bytes after"},
    {"DataButNoTensor", R"({})", "TENSORS_NOT_CONTIGUOUS", "8 bytes after"},
    {"MetadataNull", R"({"__metadata__":null,"w":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}})", kMalformed, "__metadata__"},
    {"MetadataValueIsANumber", R"({"__metadata__":{"epoch":3},"w":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}})", kMalformed, "'epoch'"},
    {"EmptyName", R"({"":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}})", "TENSOR_NAME_INVALID", "0 bytes"},
    {"ControlCharacterInName", R"({"a\nb":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}})", "TENSOR_NAME_INVALID", "control characters"},
};
// clang-format on

class SafetensorsBadHeader : public testing::TestWithParam<BadHeader> {};

TEST_P(SafetensorsBadHeader, IsRefusedWithReasonAndName) {
  const std::string path = JoinPath(MakeTempDir(), "bad.safetensors");
  WriteBytes(path, FileBytes(GetParam().header, kDataBytes));
  const absl::Status status = SafetensorsFile::Open(path).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(status, FailsWith(GetParam().reason, GetParam().mentions));
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr(path)) << "the file must be named";
}
INSTANTIATE_TEST_SUITE_P(Table, SafetensorsBadHeader, testing::ValuesIn(kBadHeaders),
                         [](const auto& test) { return std::string(test.param.name); });

struct BadBytes {
  const char* name;
  std::string bytes;
  const char* reason;
  const char* mentions;
};

std::string LengthOnly(uint64_t length, size_t more) {
  return std::string(reinterpret_cast<const char*>(&length), sizeof(length)) + std::string(more, ' ');
}

const char kGood[] = R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";

std::vector<BadBytes> BadFiles() {
  const std::string good = FileBytes(kGood, kDataBytes);
  return {
      {"Empty", "", "SAFETENSORS_TRUNCATED", "0 bytes"},
      {"SevenBytes", std::string(7, '\0'), "SAFETENSORS_TRUNCATED", "at least 8"},
      {"HeaderBeyondTheFile", LengthOnly(17, 16), "SAFETENSORS_TRUNCATED", "claims 17 bytes"},
      {"HeaderAboveTheLimit", LengthOnly(100'000'001, 64), "SAFETENSORS_HEADER_TOO_LARGE", "100000000"},
      {"HeaderOf2To64Less1", LengthOnly(UINT64_MAX, 64), "SAFETENSORS_HEADER_TOO_LARGE", "18446744073709551615"},
      {"HeaderLengthZero", LengthOnly(0, 0), kMalformed, "begin with '{'"},
      {"OneDataByteMissing", good.substr(0, good.size() - 1), "TENSOR_OUTSIDE_FILE", "'w'"},
      {"OneDataByteTooMany", good + '\0', "TENSORS_NOT_CONTIGUOUS", "1 bytes after"},
      {"CutInsideTheHeader", good.substr(0, 20), "SAFETENSORS_TRUNCATED", "fetch it again"},
      {"PaddedWithNul", FileBytes(std::string(kGood) + std::string(3, '\0'), kDataBytes), kMalformed, "not valid JSON"},
      {"NameOf1025Bytes",
       FileBytes(absl::StrCat("{\"", std::string(1025, 'n'), R"(":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}})"),
                 kDataBytes),
       "TENSOR_NAME_INVALID", "1025 bytes"},
  };
}

class SafetensorsBadBytes : public testing::TestWithParam<BadBytes> {};

TEST_P(SafetensorsBadBytes, IsRefusedWithReasonAndName) {
  const std::string path = JoinPath(MakeTempDir(), "bad.safetensors");
  WriteBytes(path, GetParam().bytes);
  const absl::Status status = SafetensorsFile::Open(path).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(status, FailsWith(GetParam().reason, GetParam().mentions));
}
INSTANTIATE_TEST_SUITE_P(Table, SafetensorsBadBytes, testing::ValuesIn(BadFiles()),
                         [](const auto& test) { return std::string(test.param.name); });

TEST(SafetensorsBadFiles, MessagesStayShortWhateverTheFileSays) {
  const std::string path = JoinPath(MakeTempDir(), "bad.safetensors");
  std::string shape = "1";
  for (int i = 0; i < 20000; ++i) shape += ",1";
  const std::string long_text(100'000, 'x');
  const std::string headers[] = {
      absl::StrCat(R"({"w":{"dtype":"F32","shape":[)", shape, R"(],"data_offsets":[0,8]}})"),
      absl::StrCat(R"({"w":{"dtype":")", long_text, R"(","shape":[2],"data_offsets":[0,8]}})"),
      absl::StrCat(R"({"w":{"dtype":"F32","shape":[")", long_text, R"("],"data_offsets":[0,8]}})"),
      absl::StrCat("{\"", long_text, "\":1,\"", long_text, "\":2}"),
      absl::StrCat("{\"", long_text),
  };
  for (const std::string& header : headers) {
    WriteBytes(path, FileBytes(header, kDataBytes));
    const absl::Status status = SafetensorsFile::Open(path).status();
    EXPECT_FALSE(status.ok());
    EXPECT_LT(status.message().size(), 1000u) << status.message().substr(0, 200);
  }
}

// Private memory of the process is limited to 256 MiB: a refusal that allocated by a claimed size
// would throw bad_alloc.
TEST(SafetensorsBadFiles, ClaimedSizesAreNotAllocated) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "SKIPPED: a sanitizer needs its own address space";
#else
  const std::string path = JoinPath(MakeTempDir(), "bad.safetensors");
  const std::string files[] = {
      LengthOnly(99'999'999, 64),
      FileBytes(R"({"w":{"dtype":"U8","shape":[4611686018427387904],"data_offsets":[0,4611686018427387904]}})", 8),
      FileBytes(R"({"w":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,8]}})", 8),
  };
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_DATA, &before), 0);
  rlimit tight = before;
  tight.rlim_cur = 256u << 20;  // private writable memory of the whole test process
  for (const std::string& bytes : files) {
    WriteBytes(path, bytes);
    ASSERT_EQ(setrlimit(RLIMIT_DATA, &tight), 0);
    const absl::Status status = SafetensorsFile::Open(path).status();
    ASSERT_EQ(setrlimit(RLIMIT_DATA, &before), 0);
    EXPECT_FALSE(status.ok());
  }
#endif
}

}  // namespace
}  // namespace quantd
