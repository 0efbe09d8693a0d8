#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "core/base/json.h"
#include "core/eval/evaluate.h"
#include "core/pipeline/open_model.h"
#include "core/text/corpus.h"
#include "worker/quant/command.h"

namespace quantd {
namespace {

struct EvaluateFlags {
  std::string model, text, protocol = "plain";
  int64_t context = 0, windows = 0;
  ExecutionOptions execution;
};

Json ToJson(const EvaluateFlags& flags, const Corpus& corpus, const EvaluationTokens& tokens,
            const Perplexity& result) {
  Json windows = Json::array();
  for (const WindowScore& window : result.window_scores) {
    windows.push_back({{"targets", window.targets},
                       {"negative_log_likelihood", window.nll_sum},
                       {"top1_correct", window.top1_correct}});
  }
  return Json{{"model", flags.model},
              {"text_sha256", corpus.sha256},
              {"protocol", tokens.protocol},
              {"context", tokens.windows[0].tokens.size()},
              {"text_tokens", tokens.text_tokens},
              {"token_stream_sha256", tokens.token_stream_sha256},
              {"windows", result.windows},
              {"targets", result.targets},
              {"negative_log_likelihood", result.nll_sum},
              {"mean_negative_log_likelihood", result.mean_nll},
              {"perplexity", result.perplexity},
              {"perplexity_error", result.perplexity_error},
              {"top1_accuracy", result.top1_accuracy},
              {"window_scores", std::move(windows)}};
}

absl::Status Evaluate(const EvaluateFlags& flags) {
  ASSIGN_OR_RETURN(const auto context, ExecutionContext::Create(flags.execution));
  ASSIGN_OR_RETURN(const OpenedModel opened,
                   OpenModelFolder(flags.model, /*with_tokenizer=*/true, ArtifactHold::kNothing));
  ASSIGN_OR_RETURN(const Corpus corpus, ReadCorpus(flags.text));
  int64_t length = flags.context;
  const int64_t model_context = opened.model->config().context;
  const bool fixed_context = flags.protocol == "gptq-2048" || flags.protocol == "llamacpp-512";
  if (length == 0 && !fixed_context) length = model_context == 0 ? 2048 : std::min<int64_t>(2048, model_context);
  ASSIGN_OR_RETURN(const EvaluationTokens tokens,
                   EvaluationWindows(corpus, *opened.tokenizer, flags.protocol, length, flags.windows));
  ASSIGN_OR_RETURN(const Perplexity result, EvaluatePerplexity(*context, *opened.model, tokens, {}));
  if (JsonOutput()) {
    std::printf("%s", JsonText(ToJson(flags, corpus, tokens, result)).c_str());
    return absl::OkStatus();
  }
  std::printf("perplexity %.4f +- %.4f (%lld targets in %lld windows of %zu, protocol %s)\n", result.perplexity,
              result.perplexity_error, static_cast<long long>(result.targets), static_cast<long long>(result.windows),
              tokens.windows[0].tokens.size(), tokens.protocol.c_str());
  std::printf("%.6f nats a token, top-1 accuracy %.2f %%\n", result.mean_nll, 100 * result.top1_accuracy);
  return absl::OkStatus();
}

}  // namespace

void AddEvaluateCommand(CLI::App& app, CommandBody* chosen) {
  CLI::App* command = app.add_subcommand("evaluate", "Perplexity of a model or artifact on a text");
  const auto flags = std::make_shared<EvaluateFlags>();
  command->add_option("--model", flags->model, "Model or artifact folder")->required();
  command->add_option("--text", flags->text, "Text file (plain, .jsonl or a .json list)")->required();
  command->add_option("--context", flags->context, "Tokens a window; 0: min(2048, context of the model)");
  command->add_option("--windows", flags->windows, "At most so many windows; 0: all");
  command->add_option("--protocol", flags->protocol, "plain, bos, gptq-2048, llamacpp-512; docs/evaluation.md");
  AddExecutionFlags(*command, &flags->execution);
  AddJsonFlag(*command);
  command->callback([flags, chosen] { *chosen = [flags] { return Evaluate(*flags); }; });
}

}  // namespace quantd
