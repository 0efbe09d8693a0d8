// As much of an object store as the service uses, in memory, with faults on demand.
#ifndef QUANTD_TESTS_TESTING_MEMORY_S3_H_
#define QUANTD_TESTS_TESTING_MEMORY_S3_H_

#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "tests/testing/scripted_http_server.h"

namespace quantd {

class MemoryS3 {
 public:
  // The answer to give instead of the true one, or nothing.
  using Fault = std::function<std::optional<ScriptedAnswer>(const ScriptedRequest&)>;

  MemoryS3();

  std::string url() const { return server_.url(); }
  std::vector<ScriptedRequest> requests() const { return server_.requests(); }

  void SetFault(Fault fault);
  // By "/bucket/key".
  void Put(const std::string& path, const std::string& bytes, absl::Time modified = absl::Now());
  void Erase(const std::string& path);
  std::optional<std::string> Get(const std::string& path) const;
  std::vector<std::string> Paths() const;
  size_t open_uploads() const;
  // Objects per page of a list.
  void SetPageSize(size_t page_size);

 private:
  struct Object {
    std::string bytes;
    absl::Time modified;
  };

  ScriptedAnswer Answer(const ScriptedRequest& request);
  ScriptedAnswer AnswerTruly(const ScriptedRequest& request);
  // With mutex_ held:
  ScriptedAnswer Read(const ScriptedRequest& request);
  ScriptedAnswer Write(const ScriptedRequest& request, const std::string& bytes);
  ScriptedAnswer Copy(const ScriptedRequest& request, const std::string& source);
  ScriptedAnswer List(const ScriptedRequest& request);
  ScriptedAnswer Multipart(const ScriptedRequest& request);

  mutable std::mutex mutex_;
  // Guarded by mutex_:
  Fault fault_;
  std::map<std::string, Object> objects_;
  std::map<std::string, std::map<int, std::string>> uploads_;  // id -> parts
  int last_upload_ = 0;
  size_t page_size_ = 1000;
  ScriptedHttpServer server_;  // last: its threads use all of the above
};

// An error as object stores word it.
ScriptedAnswer S3Error(int status, const std::string& code);

}  // namespace quantd

#endif  // QUANTD_TESTS_TESTING_MEMORY_S3_H_
