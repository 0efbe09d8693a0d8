// Small tokenizers written to disk, right or broken in one place.
#ifndef QUANTD_TESTS_CORE_TEXT_TOKENIZER_FILES_H_
#define QUANTD_TESTS_CORE_TEXT_TOKENIZER_FILES_H_

#include <string>

#include "absl/strings/string_view.h"
#include "core/base/json.h"

namespace quantd {

// A byte-level tokenizer.json: a 0, b 1, ab 2, blank 3, <s> 4 (special).
Json SmallTokenizerDocument();

// A fresh folder with one file in it; its path.
std::string FolderWith(const std::string& name, absl::string_view bytes);
// Adds a file to `folder`; the file's path.
std::string AddFile(const std::string& folder, const std::string& name, absl::string_view bytes);

}  // namespace quantd

#endif  // QUANTD_TESTS_CORE_TEXT_TOKENIZER_FILES_H_
