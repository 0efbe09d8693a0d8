#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "absl/strings/match.h"
#include "absl/time/clock.h"
#include "core/base/json.h"
#include "core/model/generate.h"
#include "core/pipeline/open_model.h"
#include "worker/quant/command.h"

namespace quantd {
namespace {

struct GenerateFlags {
  std::string model, prompt;
  GenerateOptions options;
  ExecutionOptions execution;
};

// Prints what each token adds to the text. The end of the text is decoded anew each time, since a character may span
// tokens: an unfinished one (U+FFFD at the end) waits for the next token.
class TextStream {
 public:
  TextStream(const Tokenizer& tokenizer, std::vector<int32_t> prompt, bool print)
      : tokenizer_(tokenizer), ids_(std::move(prompt)), print_(print) {
    shown_ = tokenizer_.Decode(ids_, /*skip_special=*/true);
    if (print_) std::printf("%s", shown_.c_str());
  }
  void Add(int32_t id) {
    ids_.push_back(id);
    std::string text = tokenizer_.Decode(ids_, /*skip_special=*/true);
    if (absl::EndsWith(text, "\xEF\xBF\xBD") || !absl::StartsWith(text, shown_)) return;
    if (print_) {
      std::printf("%s", text.c_str() + shown_.size());
      std::fflush(stdout);
    }
    shown_ = std::move(text);
  }
  std::string text() const { return tokenizer_.Decode(ids_, /*skip_special=*/true); }

 private:
  const Tokenizer& tokenizer_;
  std::vector<int32_t> ids_;
  bool print_;
  std::string shown_;
};

absl::Status Run(const GenerateFlags& flags) {
  ASSIGN_OR_RETURN(const auto context, ExecutionContext::Create(flags.execution));
  ASSIGN_OR_RETURN(const OpenedModel opened,
                   OpenModelFolder(flags.model, /*with_tokenizer=*/true, ArtifactHold::kNothing));
  ASSIGN_OR_RETURN(const std::vector<int32_t> prompt, opened.tokenizer->EncodeWithSpecial(flags.prompt));
  TextStream stream(*opened.tokenizer, prompt, !JsonOutput());
  int64_t tokens = 0;
  const absl::Time begin = absl::Now();
  RETURN_IF_ERROR(Generate(*context, *opened.model, prompt, flags.options, [&](int32_t id) {
    ++tokens;
    stream.Add(id);
    return true;
  }));
  const double seconds = absl::ToDoubleSeconds(absl::Now() - begin);
  if (JsonOutput()) {
    std::printf(
        "%s",
        JsonText(
            Json{{"text", stream.text()}, {"prompt_tokens", prompt.size()}, {"tokens", tokens}, {"seconds", seconds}})
            .c_str());
  } else {
    std::printf("\n");
    std::fprintf(stderr, "%lld tokens in %.2f s, loading included\n", static_cast<long long>(tokens), seconds);
  }
  return absl::OkStatus();
}

}  // namespace

void AddGenerateCommand(CLI::App& app, CommandBody* chosen) {
  CLI::App* command = app.add_subcommand("generate", "Continue a text with a model or artifact");
  const auto flags = std::make_shared<GenerateFlags>();
  command->add_option("--model", flags->model, "Model or artifact folder")->required();
  command->add_option("--prompt", flags->prompt, "Text to continue")->required();
  command->add_option("--tokens", flags->options.max_tokens, "At most so many new tokens")
      ->check(CLI::Range(1, 1 << 20));
  command->add_option("--temperature", flags->options.temperature, "0: the most likely token each time")
      ->check(CLI::Range(0.0, 10.0));
  command->add_option("--seed", flags->options.seed, "Of the draws");
  AddExecutionFlags(*command, &flags->execution);
  AddJsonFlag(*command);
  command->callback([flags, chosen] { *chosen = [flags] { return Run(*flags); }; });
}

}  // namespace quantd
