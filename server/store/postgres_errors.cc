#include "server/store/postgres_errors.h"

#include <cstring>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "core/base/status.h"

namespace quantd {
namespace {

using Code = absl::StatusCode;
using Fate = PostgresFate;

constexpr char kBusy[] = "STORE_BUSY";
constexpr char kRetry[] = "retry";
constexpr char kDefect[] = "this is a defect of quantd, please report it";
constexpr char kOwner[] = "make quantd's role the owner of its database";
constexpr char kRestore[] = "restore the database from a backup";

const PostgresErrorKind kKinds[] = {
    {"", Fate::kLost, Code::kUnavailable, kBusy, kRetry},
    {"08", Fate::kLost, Code::kUnavailable, kBusy, kRetry},
    {"22021", Fate::kFinal, Code::kInvalidArgument, "TEXT_INVALID", "send text in UTF-8 without zero bytes"},
    {"23", Fate::kFinal, Code::kInternal, "STORE_CONSTRAINT", kDefect},
    {"23505", Fate::kFinal, Code::kAlreadyExists, "STORE_CONSTRAINT", kDefect},
    {"25006", Fate::kLost, Code::kUnavailable, kBusy, "the database server is a standby now; retry"},
    {"25P03", Fate::kLost, Code::kUnavailable, kBusy, kRetry},
    {"40", Fate::kConflict, Code::kUnavailable, kBusy, kRetry},
    {"3F000", Fate::kFinal, Code::kFailedPrecondition, "STORE_UNSUITABLE", kOwner},
    {"42501", Fate::kFinal, Code::kFailedPrecondition, "STORE_UNSUITABLE", kOwner},
    {"53", Fate::kConflict, Code::kUnavailable, kBusy, kRetry},
    {"53100", Fate::kFinal, Code::kResourceExhausted, "DISK_FULL", "free some space on the database server's disk"},
    {"53300", Fate::kLost, Code::kUnavailable, kBusy,
     "raise max_connections of the server, or lower store_connections"},
    {"55P03", Fate::kConflict, Code::kUnavailable, kBusy, kRetry},
    {"57014", Fate::kFinal, Code::kUnavailable, kBusy, "retry; if it stays so, the database server is overloaded"},
    {"57P", Fate::kLost, Code::kUnavailable, kBusy, kRetry},
    {"58", Fate::kFinal, Code::kUnavailable, "STORE_FAILED", "check the database server's disk and log"},
    {"XX001", Fate::kFinal, Code::kDataLoss, "STORE_CORRUPT", kRestore},
    {"XX002", Fate::kFinal, Code::kDataLoss, "STORE_CORRUPT", kRestore},
};
const PostgresErrorKind kOther = {"", Fate::kFinal, Code::kInternal, "STORE_STATEMENT_FAILED", kDefect};

}  // namespace

const PostgresErrorKind& PostgresErrorKindOf(absl::string_view sqlstate) {
  if (sqlstate.empty()) return kKinds[0];
  const PostgresErrorKind* best = &kOther;
  for (const PostgresErrorKind& kind : kKinds) {
    const size_t length = std::strlen(kind.sqlstate);
    if (length > std::strlen(best->sqlstate) && absl::StartsWith(sqlstate, kind.sqlstate)) best = &kind;
  }
  return *best;
}

absl::Status PostgresError(const PostgresErrorKind& kind, absl::string_view message) {
  return ReasonError(kind.code, kind.reason,
                     absl::StrFormat("PostgreSQL: %s; %s", absl::StripAsciiWhitespace(message), kind.remedy));
}

}  // namespace quantd
