#include "core/formats/safetensors.h"

#include <cstring>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "tests/core/formats/safetensors_files.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

std::string NewPath() {
  return JoinPath(MakeTempDir(), "model.safetensors");
}

struct GoodHeader {
  const char* name;
  const char* header;
  size_t data_bytes;
  std::vector<std::string> tensors;  // expected names
};

class SafetensorsGoodHeader : public testing::TestWithParam<GoodHeader> {};

TEST_P(SafetensorsGoodHeader, IsRead) {
  const std::string path = NewPath();
  WriteBytes(path, FileBytes(GetParam().header, GetParam().data_bytes));
  ASSERT_OK_AND_ASSIGN(const SafetensorsFile file, SafetensorsFile::Open(path));
  std::vector<std::string> names;
  for (const TensorEntry& tensor : file.tensors()) names.push_back(tensor.name);
  EXPECT_EQ(names, GetParam().tensors);
}

// clang-format off
INSTANTIATE_TEST_SUITE_P(
    Table, SafetensorsGoodHeader,
    testing::Values(
        GoodHeader{"NoTensors", "{}", 0, {}},
        GoodHeader{"MetadataOnly", R"({"__metadata__":{"format":"pt"}})", 0, {}},
        GoodHeader{"TrailingSpaces", R"({"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}    )", 1, {"w"}},
        GoodHeader{"Scalar", R"({"w":{"dtype":"F32","shape":[],"data_offsets":[0,4]}})", 4, {"w"}},
        GoodHeader{"ZeroSize", R"({"w":{"dtype":"F32","shape":[0,7],"data_offsets":[0,0]}})", 0, {"w"}},
        GoodHeader{"ZeroSizeBetween", R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"e":{"dtype":"U8","shape":[0],"data_offsets":[2,2]},"b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}})", 3, {"a", "b", "e"}},
        GoodHeader{"UnknownExtraField", R"({"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"note":[1.5]}})", 1, {"w"}},
        GoodHeader{"JsonOrderIsNotDataOrder", R"({"z":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})", 2, {"a", "z"}},
        GoodHeader{"UnalignedBegin", R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"F32","shape":[1],"data_offsets":[1,5]}})", 5, {"a", "b"}}),
    [](const auto& test) { return std::string(test.param.name); });
// clang-format on

TEST(Safetensors, EveryDtypeIsReadBack) {
  constexpr Dtype kAll[] = {Dtype::kF64,  Dtype::kI64, Dtype::kU64, Dtype::kF32, Dtype::kI32, Dtype::kU32, Dtype::kF16,
                            Dtype::kBf16, Dtype::kI16, Dtype::kU16, Dtype::kI8,  Dtype::kU8,  Dtype::kBool};
  std::vector<TestTensor> tensors;
  for (const Dtype dtype : kAll) {
    const size_t size = 6 * static_cast<size_t>(DtypeBytes(dtype));
    std::string bytes;
    for (size_t i = 0; i < size; ++i) bytes += static_cast<char>(tensors.size() * 16 + i);
    tensors.push_back({{std::string(DtypeName(dtype)), dtype, {2, 3}}, bytes});
  }
  const std::string path = NewPath();
  WriteSafetensors(path, tensors);
  ASSERT_OK_AND_ASSIGN(const SafetensorsFile file, SafetensorsFile::Open(path));
  ASSERT_THAT(file.tensors(), SizeIs(tensors.size()));
  for (const TestTensor& written : tensors) {
    const TensorEntry* read = file.Find(written.spec.name);
    ASSERT_NE(read, nullptr) << written.spec.name;
    EXPECT_EQ(read->dtype, written.spec.dtype);
    EXPECT_EQ(read->shape, written.spec.shape);
    EXPECT_EQ(read->elements(), 6);
    const absl::Span<const char> bytes = file.Bytes(*read);
    EXPECT_EQ(std::string(bytes.begin(), bytes.end()), written.bytes);
  }
  EXPECT_EQ(file.Find("absent"), nullptr);
}

TEST(SafetensorsWriter, BytesAreTheDocumentedOnes) {
  const std::string path = NewPath();
  WriteSafetensors(path, {FloatTensor("b", {1}, {1.0f}), FloatTensor("a", {}, {2.0f})});
  ASSERT_OK_AND_ASSIGN(const std::string bytes, RealFileSystem().ReadFile(path, 1000));
  const std::string header = R"({"__metadata__":{"format":"pt"},"b":{"data_offsets":[0,4],"dtype":"F32","shape":[1]},)"
                             R"("a":{"data_offsets":[4,8],"dtype":"F32","shape":[]}})";
  const size_t padded = (header.size() + 7) / 8 * 8;
  uint64_t length;
  ASSERT_EQ(bytes.size(), 8 + padded + 8);
  std::memcpy(&length, bytes.data(), 8);
  EXPECT_EQ(length, padded);
  EXPECT_EQ(bytes.substr(8, padded), header + std::string(padded - header.size(), ' '));
  EXPECT_EQ(bytes.substr(8 + padded), std::string("\0\0\x80\x3f\0\0\0\x40", 8));
}

TEST(SafetensorsWriter, TakesDataInPieces) {
  const std::string path = NewPath();
  ASSERT_OK_AND_ASSIGN(
      const auto writer,
      SafetensorsWriter::Create(RealFileSystem(), path, {{"a", Dtype::kU8, {3}}, {"b", Dtype::kU8, {2}}}, {}));
  for (const char* piece : {"a", "aab", "", "b"}) ASSERT_OK(writer->Append(piece));
  ASSERT_OK(writer->Finish());
  ASSERT_OK_AND_ASSIGN(const SafetensorsFile file, SafetensorsFile::Open(path));
  EXPECT_THAT(file.Bytes(*file.Find("a")), ElementsAre('a', 'a', 'a'));
  EXPECT_THAT(file.Bytes(*file.Find("b")), ElementsAre('b', 'b'));
  EXPECT_THAT(file.metadata(), IsEmpty());
}

TEST(SafetensorsWriter, TooFewAndTooManyBytesAreNoticed) {
  const auto writer =
      SafetensorsWriter::Create(RealFileSystem(), NewPath(), {{"a", Dtype::kU8, {3}}}, {{"format", "pt"}});
  ASSERT_OK(writer);
  ASSERT_OK((*writer)->Append("ab"));
  EXPECT_EQ((*writer)->Finish().code(), absl::StatusCode::kInternal);
  EXPECT_EQ((*writer)->Append("cd").code(), absl::StatusCode::kInternal);
  ASSERT_OK((*writer)->Append("c"));
  EXPECT_OK((*writer)->Finish());
}

TEST(SafetensorsWriter, RefusesPlansThatNoReaderAccepts) {
  const std::vector<TensorSpec> plans[] = {
      {{"", Dtype::kU8, {1}}},
      {{"__metadata__", Dtype::kU8, {1}}},
      {{"a", Dtype::kU8, {1}}, {"a", Dtype::kU8, {1}}},
      {{"a", Dtype::kU8, {-1}}},
      {{"a", Dtype::kF32, {int64_t{1} << 31, int64_t{1} << 31}}},
      {{"a", Dtype::kU8, {INT64_MAX}}, {"b", Dtype::kU8, {1}}},
  };
  for (const auto& plan : plans) {
    const std::string path = NewPath();
    const auto writer = SafetensorsWriter::Create(RealFileSystem(), path, plan, {});
    EXPECT_EQ(writer.status().code(), absl::StatusCode::kInternal) << plan.back().name;
    EXPECT_FALSE(RealFileSystem().Exists(path)) << "nothing is written before the plan is checked";
  }
}

TEST(SafetensorsWriter, NamesSurviveEscaping) {
  const std::string name = "a\"b\\c \xc3\xa9 \xe4\xb8\xad";
  const std::string path = NewPath();
  WriteSafetensors(path, {FloatTensor(name, {1}, {1.0f})});
  ASSERT_OK_AND_ASSIGN(const SafetensorsFile file, SafetensorsFile::Open(path));
  EXPECT_NE(file.Find(name), nullptr);
}

// Cuts a good file at every length: none is accepted and none does harm.
TEST(Safetensors, EveryPrefixIsRefused) {
  const std::string path = NewPath();
  WriteSafetensors(path, {FloatTensor("first", {2}, {1, 2}), FloatTensor("second", {3}, {3, 4, 5})});
  ASSERT_OK_AND_ASSIGN(const std::string bytes, RealFileSystem().ReadFile(path, 1000));
  const std::string cut = NewPath();
  for (size_t size = 0; size < bytes.size(); ++size) {
    WriteBytes(cut, bytes.substr(0, size));
    EXPECT_FALSE(SafetensorsFile::Open(cut).ok()) << size << " of " << bytes.size() << " bytes";
  }
}

// Flips every bit of the header: whatever is still accepted describes tensors that lie inside the file.
TEST(Safetensors, NoSingleBitFlipReachesOutsideTheFile) {
  const std::string path = NewPath();
  WriteSafetensors(path, {FloatTensor("first", {2}, {1, 2}), FloatTensor("second", {3}, {3, 4, 5})});
  ASSERT_OK_AND_ASSIGN(const std::string good, RealFileSystem().ReadFile(path, 1000));
  const size_t header_end = good.size() - 20;
  const std::string flipped_path = NewPath();
  int accepted = 0;
  for (size_t bit = 0; bit < 8 * header_end; ++bit) {
    std::string bytes = good;
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ 1 << bit % 8);
    WriteBytes(flipped_path, bytes);
    const auto file = SafetensorsFile::Open(flipped_path);
    if (!file.ok()) continue;
    ++accepted;
    for (const TensorEntry& tensor : file->tensors()) {
      EXPECT_LE(file->data_offset() + tensor.end, bytes.size()) << "bit " << bit;
    }
  }
  EXPECT_GT(accepted, 0) << "flips inside tensor names are harmless; none accepted means that nothing was tested";
}

}  // namespace
}  // namespace quantd
