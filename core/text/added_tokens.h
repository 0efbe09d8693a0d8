// Tokens that are looked for in the text before the model sees it: special tokens and user-defined ones.
#ifndef QUANTD_CORE_TEXT_ADDED_TOKENS_H_
#define QUANTD_CORE_TEXT_ADDED_TOKENS_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/base/json.h"

namespace quantd {

struct AddedToken {
  int32_t id = -1;
  std::string content;
  std::string form;          // what is looked for and what it decodes to: `content`, normalized if it is `normalized`
  bool single_word = false;  // not inside a word
  bool lstrip = false;       // takes the blanks before it along
  bool rstrip = false;       // and those after it
  bool normalized = false;   // looked for after normalization
  bool special = false;      // left out when decoding with skip_special
};

// One entry of "added_tokens", or of "added_tokens_decoder" in tokenizer_config.json. TOKENIZER_MALFORMED.
absl::StatusOr<AddedToken> AddedTokenFromJson(const Json& entry, int64_t id, absl::string_view file);

// A stretch of text, or one added token.
struct TextStretch {
  absl::string_view text;
  std::optional<int32_t> token;
};

// Finds a fixed set of added tokens: the leftmost one, the longest of those that begin there. Immutable, thread-safe.
class AddedTokenFinder {
 public:
  // Looks for token.form; an empty one is never found.
  void Add(const AddedToken& token);

  // Cuts `text` into stretches; empty ones are left out.
  std::vector<TextStretch> Cut(absl::string_view text) const;

 private:
  struct Node {
    std::map<char, int32_t> children;
    int32_t token = -1;  // index into tokens_
  };
  struct Found {
    size_t begin;
    size_t end;
    int32_t token;
  };
  std::optional<Found> FindFrom(absl::string_view text, size_t position) const;

  std::vector<Node> nodes_ = std::vector<Node>(1);
  std::vector<AddedToken> tokens_;
  bool begins_[256] = {};  // first bytes of all forms
};

}  // namespace quantd

#endif  // QUANTD_CORE_TEXT_ADDED_TOKENS_H_
