// Object stores of others, run by tests in the Python environment of scripts/test-venv.
#ifndef QUANTD_TESTS_TESTING_OBJECT_SERVER_H_
#define QUANTD_TESTS_TESTING_OBJECT_SERVER_H_

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>

namespace quantd {

// The environment's Python: of $QUANTD_TEST_VENV, else of build/test-venv in the checkout; nothing when it is absent.
std::optional<std::string> TestPython();

class ObjectServer {
 public:
  // "moto", "moto-tls" (moto behind TLS) or "rclone", with the empty buckets `artifacts` and `models`. Null when it
  // does not start.
  static std::unique_ptr<ObjectServer> Start(const std::string& kind, const std::string& python);
  ~ObjectServer();

  const std::string& endpoint() const { return endpoint_; }
  // Of moto-tls: the authority that signed its certificate.
  const std::string& ca_file() const { return ca_file_; }
  // In the form of ~/.aws/credentials.
  const std::string& credentials_file() const { return credentials_file_; }

 private:
  ObjectServer() = default;
  bool WaitUntilReady(const std::string& ready_file);

  pid_t process_ = -1;
  int stdin_ = -1;  // the server ends when it is closed, even by a crash of the test
  std::string endpoint_;
  std::string ca_file_;
  std::string credentials_file_;
};

}  // namespace quantd

// In a test body: skips it, loudly, without the environment.
#define SKIP_WITHOUT_TEST_VENV(python) \
  if (!(python).has_value())           \
  GTEST_SKIP() << "SKIPPED: there is no build/test-venv; run scripts/test-venv to run this test"

#endif  // QUANTD_TESTS_TESTING_OBJECT_SERVER_H_
