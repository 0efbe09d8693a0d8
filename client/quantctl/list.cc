// quantctl list
#include <CLI/CLI.hpp>
#include <memory>

#include "absl/strings/str_cat.h"
#include "client/job_filter.h"
#include "client/proto_json.h"
#include "client/quantctl/commands.h"
#include "client/resource_name.h"
#include "client/text/error_text.h"
#include "client/text/job_text.h"
#include "core/base/status.h"
#include "proto/job_state.h"

namespace quantd {
namespace {

struct ListOptions {
  JobFilter filter;
  int page_size = 50;
  bool all = false;
  bool ids = false;
  bool show_deleted = false;
};

constexpr char kFooter[] =
    "Examples:\n"
    "  quantctl list\n"
    "  quantctl list --state QUEUED --state RUNNING --recipe gptq\n"
    "  quantctl list --all --ids\n"
    "  quantctl list --page-size 1 --json | jq -r '.jobs[0].name'\n";

absl::StatusOr<std::string> JobsJson(const std::vector<v1::QuantJob>& jobs) {
  std::string text = R"({"jobs": [)";
  std::string job_json;
  for (const v1::QuantJob& job : jobs) {
    RETURN_IF_ERROR(MessageToJson(job, JsonStyle::kOneLine, &job_json));
    absl::StrAppend(&text, &job == jobs.data() ? "" : ",\n ", job_json);
  }
  return text + "]}\n";
}

std::string IdLines(const std::vector<v1::QuantJob>& jobs) {
  std::string text;
  for (const v1::QuantJob& job : jobs) absl::StrAppend(&text, Printable(JobId(job.name())), "\n");
  return text;
}

absl::Status PrintJobs(const Session& session, const ListOptions& options, const std::vector<v1::QuantJob>& jobs) {
  if (session.json) {
    ASSIGN_OR_RETURN(const std::string text, JobsJson(jobs));
    session.Print(text);
  } else if (options.ids) {
    session.Print(IdLines(jobs));
  } else if (jobs.empty()) {
    session.Note("no jobs\n");
  } else {
    session.Print(JobTable(jobs));
  }
  return absl::OkStatus();
}

absl::StatusOr<ExitCode> List(Session& session, const ListOptions& options) {
  v1::ListQuantJobsRequest request;
  request.set_page_size(options.page_size);
  request.set_filter(FilterText(options.filter));
  request.set_show_deleted(options.show_deleted);
  std::vector<v1::QuantJob> jobs;
  bool has_more = false;
  if (options.all) {
    RETURN_IF_ERROR(session.client().ListAll(request, [&jobs](const v1::QuantJob& job) {
      jobs.push_back(job);
      return true;
    }));
  } else {
    ASSIGN_OR_RETURN(const v1::ListQuantJobsResponse page, session.client().ListPage(request));
    jobs.assign(page.jobs().begin(), page.jobs().end());
    has_more = !page.next_page_token().empty();
  }
  RETURN_IF_ERROR(PrintJobs(session, options, jobs));
  if (has_more) session.Note("There are more: --all lists every job, --page-size N more at once.\n");
  return ExitCode::kOk;
}

}  // namespace

void DefineList(CLI::App& app, Session& session) {
  const auto options = std::make_shared<ListOptions>();
  app.add_option("--state", options->filter.states, "only jobs in this state; may be repeated")
      ->type_name("STATE")
      ->check(CLI::IsMember(StateNames(), CLI::ignore_case))
      ->allow_extra_args(false);
  app.add_option("--recipe", options->filter.recipe, "only jobs of this recipe")->type_name("NAME");
  app.add_option("--model", options->filter.model, "only jobs of this model")->type_name("NAME");
  app.add_option("--page-size", options->page_size, "jobs to list; with --all, jobs to ask for at once")
      ->type_name("N")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_flag("--all", options->all, "every job, page after page");
  app.add_flag("--show-deleted", options->show_deleted, "deleted jobs too, as long as they can be undeleted");
  app.add_flag("--ids", options->ids, "job ids alone, one a line");
  app.footer(kFooter);
  app.callback([options, &session] { session.action = [options, &session] { return List(session, *options); }; });
}

}  // namespace quantd
