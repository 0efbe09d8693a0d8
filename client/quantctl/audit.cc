// quantctl audit
#include <CLI/CLI.hpp>
#include <memory>

#include "client/quantctl/commands.h"
#include "client/resource_name.h"
#include "client/text/quantity.h"
#include "client/text/table.h"
#include "core/base/status.h"

namespace quantd {
namespace {

struct AuditOptions {
  std::string job;
  bool all_tenants = false;
  int page_size = 50;
};

constexpr char kFooter[] =
    "Actors are client:ADDRESS, worker:ID, sweeper (leases and deadlines), retention (expiry and removal), fsck, "
    "quantd\n"
    "and migrate-store.\n\n"
    "Examples:\n"
    "  quantctl audit                 # what happened last, in all jobs of the tenant\n"
    "  quantctl audit JOB --page-size 1000\n"
    "  quantctl audit --json | jq -r '.records[] | select(.action == \"delete\") | .actor'\n";

std::string AuditTable(const v1::ListAuditRecordsResponse& page) {
  Table table({"TIME (UTC)", "JOB", "ACTION", "ACTOR", "DETAIL"});
  for (const v1::AuditRecord& record : page.records()) {
    table.Add({TimeText(record.time()), JobId(record.job()), record.action(), record.actor(), record.detail()});
  }
  return table.Text();
}

absl::StatusOr<ExitCode> Audit(Session& session, const AuditOptions& options) {
  v1::ListAuditRecordsRequest request;
  request.set_page_size(options.page_size);
  if (options.all_tenants) {
    request.set_parent("tenants/-");
  } else if (!options.job.empty()) {
    ASSIGN_OR_RETURN(*request.mutable_parent(), ExpandJobName(options.job, session.tenant));
  }
  ASSIGN_OR_RETURN(const v1::ListAuditRecordsResponse page, session.client().AuditPage(request));
  if (session.json) {
    RETURN_IF_ERROR(session.PrintJson(page));
  } else if (page.records().empty()) {
    session.Note("no records\n");
  } else {
    session.Print(AuditTable(page));
  }
  if (!page.next_page_token().empty()) session.Note("There are more: --page-size N shows more at once.\n");
  return ExitCode::kOk;
}

}  // namespace

void DefineAudit(CLI::App& app, Session& session) {
  const auto options = std::make_shared<AuditOptions>();
  app.add_option("job", options->job, "id or full name of a job; without one, every job of the tenant");
  app.add_flag("--all-tenants", options->all_tenants, "every job of every tenant, and what is of no job")
      ->excludes("job");
  app.add_option("--page-size", options->page_size, "records to show, the newest first")
      ->type_name("N")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.footer(kFooter);
  app.callback([options, &session] { session.action = [options, &session] { return Audit(session, *options); }; });
}

}  // namespace quantd
