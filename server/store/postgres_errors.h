// What PostgreSQL's error codes mean to the job store.
#ifndef QUANTD_SERVER_STORE_POSTGRES_ERRORS_H_
#define QUANTD_SERVER_STORE_POSTGRES_ERRORS_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace quantd {

// What a failure says about what to do next.
enum class PostgresFate {
  kFinal,     // the statement will not do
  kConflict,  // another transaction was in the way: the whole transaction may be run again
  kLost,      // the session has ended, or is of no use any more
};

struct PostgresErrorKind {
  const char* sqlstate;  // the beginning of the code, the longest match counts
  PostgresFate fate;
  absl::StatusCode code;
  const char* reason;
  const char* remedy;
};

// The row for a code; "" (no answer came) is a lost connection.
const PostgresErrorKind& PostgresErrorKindOf(absl::string_view sqlstate);

// The status of a kind, with the server's message.
absl::Status PostgresError(const PostgresErrorKind& kind, absl::string_view message);

}  // namespace quantd

#endif  // QUANTD_SERVER_STORE_POSTGRES_ERRORS_H_
