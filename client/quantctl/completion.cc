// quantctl completion
#include <CLI/CLI.hpp>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/quantctl/commands.h"
#include "proto/job_state.h"

namespace quantd {
namespace {

constexpr char kFooter[] =
    "Examples:\n"
    "  source <(quantctl completion bash)\n"
    "  quantctl completion bash > /etc/bash_completion.d/quantctl\n";

// Every long option of `app`: "--model --recipe ...".
std::string OptionWords(const CLI::App& app) {
  std::vector<std::string> words;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) words.push_back("--" + name);
  }
  return absl::StrJoin(words, " ");
}

std::string CommandWords(const CLI::App& root) {
  std::vector<std::string> words;
  for (const CLI::App* command : root.get_subcommands({})) words.push_back(command->get_name());
  return absl::StrJoin(words, " ");
}

std::string OptionCases(const CLI::App& root) {
  std::string cases;
  for (const CLI::App* command : root.get_subcommands({})) {
    absl::StrAppend(&cases, "    ", command->get_name(), ") words=\"", OptionWords(*command), "\" ;;\n");
  }
  return cases;
}

// Job ids and recipe names are asked from the server, for one second at most.
std::string BashScript(const CLI::App& root) {
  return absl::StrCat(
      "# bash completion of quantctl; made by `quantctl completion bash`\n"
      "_quantctl() {\n"
      "  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} command= words= word\n"
      "  for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
      "    case \" ",
      CommandWords(root),
      " \" in *\" $word \"*) command=$word; break ;; esac\n"
      "  done\n"
      "  case $previous in\n"
      "    --state) COMPREPLY=($(compgen -W \"",
      absl::StrJoin(StateNames(), " "),
      "\" -- \"$current\")); return ;;\n"
      "    --recipe) COMPREPLY=($(compgen -W \"$(quantctl recipes --names --timeout 1 2>/dev/null)\" -- "
      "\"$current\")); "
      "return ;;\n"
      "    --device) COMPREPLY=($(compgen -W \"auto cpu cuda\" -- \"$current\")); return ;;\n"
      "    --bos) COMPREPLY=($(compgen -W \"auto always never\" -- \"$current\")); return ;;\n"
      "    --protocol) COMPREPLY=($(compgen -W \"plain bos gptq-2048 llamacpp-512\" -- \"$current\")); return ;;\n"
      "    --job | --html) COMPREPLY=($(compgen -f -- \"$current\")); return ;;\n"
      "    --out) COMPREPLY=($(compgen -d -- \"$current\")); return ;;\n"
      "  esac\n"
      "  case $command in\n",
      OptionCases(root), "    *) words=\"", CommandWords(root), " ", OptionWords(root),
      "\" ;;\n"
      "  esac\n"
      "  case $command in\n"
      "    '') ;;\n"
      "    *) words+=\" ",
      OptionWords(root),
      "\" ;;\n"
      "  esac\n"
      "  if [[ $current != -* ]]; then\n"
      "    case $command in\n"
      "      undelete) words=$(quantctl list --show-deleted --ids --timeout 1 2>/dev/null) ;;\n"
      "      watch | get | cancel | delete | audit | report | download) words=$(quantctl list --ids --timeout 1 "
      "2>/dev/null) ;;\n"
      "      recipes) words=$(quantctl recipes --names --timeout 1 2>/dev/null) ;;\n"
      "      completion) words=bash ;;\n"
      "    esac\n"
      "  fi\n"
      "  COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n"
      "}\n"
      "complete -F _quantctl quantctl\n");
}

}  // namespace

void DefineCompletion(CLI::App& app, Session& session) {
  const auto shell = std::make_shared<std::string>();
  app.add_option("shell", *shell, "which shell: bash")->required()->check(CLI::IsMember({"bash"}));
  app.footer(kFooter);
  const CLI::App* const root = app.get_parent();
  // The option writes into *shell when it is parsed: the callback, which lives as long as the app, keeps it.
  app.callback([root, shell, &session] {
    session.action = [root, &session]() -> absl::StatusOr<ExitCode> {
      session.Print(BashScript(*root));
      return ExitCode::kOk;
    };
  });
}

}  // namespace quantd
