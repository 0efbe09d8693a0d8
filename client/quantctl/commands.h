// The subcommands of quantctl, one file each. A new one: its .cc, a line here, a row in the table of main.cc, a
// paragraph in docs/quantctl.md.
#ifndef QUANTD_CLIENT_QUANTCTL_COMMANDS_H_
#define QUANTD_CLIENT_QUANTCTL_COMMANDS_H_

#include "absl/types/span.h"
#include "client/quantctl/session.h"

namespace CLI {
class App;
}

namespace quantd {

// Each adds its arguments and help to `app`, an empty subcommand, and sets session.action when that is parsed.
void DefineSubmit(CLI::App& app, Session& session);
void DefineWatch(CLI::App& app, Session& session);
void DefineGet(CLI::App& app, Session& session);
void DefineList(CLI::App& app, Session& session);
void DefineCancel(CLI::App& app, Session& session);
void DefineDelete(CLI::App& app, Session& session);
void DefineUndelete(CLI::App& app, Session& session);
void DefineAudit(CLI::App& app, Session& session);
void DefineReport(CLI::App& app, Session& session);
void DefineDownload(CLI::App& app, Session& session);
void DefineRecipes(CLI::App& app, Session& session);
void DefineCompletion(CLI::App& app, Session& session);

struct Command {
  const char* name;
  const char* summary;
  void (*define)(CLI::App&, Session&);
};

}  // namespace quantd

#endif  // QUANTD_CLIENT_QUANTCTL_COMMANDS_H_
