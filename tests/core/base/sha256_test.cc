#include "core/base/sha256.h"

#include "core/base/file_system.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

struct Vector {
  std::string message;
  const char* digest;
};

// The examples of FIPS 180-4: empty, one block, two blocks, a million times 'a'.
std::vector<Vector> Vectors() {
  return {
      {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
      {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
      {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
       "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
      {std::string(1'000'000, 'a'), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"},
  };
}

TEST(Sha256, KnownVectors) {
  for (const Vector& vector : Vectors()) EXPECT_EQ(Sha256Hex(vector.message), vector.digest);
}

TEST(Sha256, PiecesGiveTheSameDigest) {
  const Vector vector = Vectors()[3];
  Sha256 sha;
  for (size_t i = 0; i < vector.message.size(); i += 777) sha.Update(absl::string_view(vector.message).substr(i, 777));
  EXPECT_EQ(sha.Finish(), vector.digest);
}

TEST(Sha256, FilesLongerThanTheBuffer) {
  const std::string path = JoinPath(MakeTempDir(), "f");
  for (const size_t size : {size_t{0}, (size_t{1} << 20) - 1, size_t{1} << 20, (size_t{1} << 20) + 1}) {
    const std::string bytes(size, 'q');
    ASSERT_OK(WriteFileDurably(RealFileSystem(), path, bytes));
    ASSERT_OK_AND_ASSIGN(const std::string digest, Sha256OfFile(path));
    EXPECT_EQ(digest, Sha256Hex(bytes)) << size;
  }
  EXPECT_THAT(Sha256OfFile(path + "x"), FailsWith("FILE_NOT_FOUND", path));
}

}  // namespace
}  // namespace quantd
