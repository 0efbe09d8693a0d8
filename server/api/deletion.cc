// QuantService::DeleteQuantJob and UndeleteQuantJob.
#include "core/base/status.h"
#include "server/api/actor.h"
#include "server/api/find_job.h"
#include "server/api/quant_service.h"
#include "server/api/rpc_call.h"
#include "server/retention/marks.h"

namespace quantd {
namespace {

AuditNote NoteOf(const grpc::ServerContext& context, const char* action) {
  return {.actor = ClientActor(context.peer()), .action = action, .detail = ""};
}

}  // namespace

grpc::Status QuantService::DeleteQuantJob(grpc::ServerContext* context, const v1::DeleteQuantJobRequest* request,
                                          v1::QuantJob* response) {
  return AnswerRpc(parts_.metrics, "DeleteQuantJob", [&]() -> absl::Status {
    ASSIGN_OR_RETURN(JobRecord record, FindJob(parts_.store, request->name()));
    // The record as the transaction saw it: read again afterwards, it might have been taken back meanwhile.
    const auto mark = [&](JobRecord& current) {
      record = current;
      return MarkDeleted(current, parts_.store.Now(), parts_.undelete_window, NoteOf(*context, "delete"));
    };
    auto deleted = parts_.store.Update(DurableStep::kDeleteMark, std::string(record.id), mark);
    if (ReasonOf(deleted.status()) != kAlreadyDeleted) {
      RETURN_IF_ERROR(deleted.status());
      record = *std::move(deleted);
    }
    *response = Shown(std::move(record.job));
    return absl::OkStatus();
  });
}

grpc::Status QuantService::UndeleteQuantJob(grpc::ServerContext* context, const v1::UndeleteQuantJobRequest* request,
                                            v1::QuantJob* response) {
  return AnswerRpc(parts_.metrics, "UndeleteQuantJob", [&]() -> absl::Status {
    ASSIGN_OR_RETURN(JobRecord record, FindJob(parts_.store, request->name()));
    const auto unmark = [&](JobRecord& current) {
      return TakeBack(current, parts_.store.Now(), NoteOf(*context, "undelete"));
    };
    ASSIGN_OR_RETURN(record, parts_.store.Update(DurableStep::kUndelete, record.id, unmark));
    *response = Shown(std::move(record.job));
    return absl::OkStatus();
  });
}

}  // namespace quantd
