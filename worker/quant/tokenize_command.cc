#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "core/base/file_system.h"
#include "core/base/json.h"
#include "core/text/tokenizer.h"
#include "worker/quant/command.h"

namespace quantd {
namespace {

constexpr uint64_t kMaxTextBytes = 1u << 30;

struct TokenizeFlags {
  std::string model, text, file;
  bool special = false;
};

absl::Status Run(const TokenizeFlags& flags) {
  ASSIGN_OR_RETURN(const auto tokenizer, OpenTokenizer(flags.model));
  std::string text = flags.text;
  if (!flags.file.empty()) {
    ASSIGN_OR_RETURN(text, RealFileSystem().ReadFile(flags.file, kMaxTextBytes));
  }
  ASSIGN_OR_RETURN(const std::vector<int32_t> ids,
                   flags.special ? tokenizer->EncodeWithSpecial(text) : tokenizer->Encode(text));
  if (JsonOutput()) {
    Json pieces = Json::array();
    for (const int32_t id : ids) pieces.push_back(tokenizer->Piece(id));
    std::printf("%s", JsonText(Json{{"ids", ids},
                                    {"pieces", std::move(pieces)},
                                    {"source", tokenizer->source()},
                                    {"decoded", tokenizer->Decode(ids, false)}})
                          .c_str());
    return absl::OkStatus();
  }
  for (const int32_t id : ids) std::printf("%7d  %s\n", id, tokenizer->Piece(id).c_str());
  std::printf("%zu tokens by %s\n", ids.size(), tokenizer->source().c_str());
  return absl::OkStatus();
}

}  // namespace

void AddTokenizeCommand(CLI::App& app, CommandBody* chosen) {
  CLI::App* command = app.add_subcommand("tokenize", "Show the tokens of a text");
  const auto flags = std::make_shared<TokenizeFlags>();
  command->add_option("--model", flags->model, "Folder with the tokenizer")->required();
  auto* text = command->add_option("--text", flags->text, "The text");
  command->add_option("--file", flags->file, "A file with the text")->excludes(text);
  command->add_flag("--special", flags->special, "With BOS and EOS as the tokenizer is configured");
  AddJsonFlag(*command);
  command->callback([flags, chosen] { *chosen = [flags] { return Run(*flags); }; });
}

}  // namespace quantd
