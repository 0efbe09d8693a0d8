#include "core/text/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <time.h>

#include <utility>

#include "absl/strings/str_format.h"
#include "core/base/excerpt.h"
#include "core/base/status.h"
#include "core/text/regex_translation.h"
#include "core/text/utf8.h"

namespace quantd {
namespace {

// The patterns in use need a few steps a character of the match; the longest run (1 MB of blanks) stays below the
// limit.
constexpr uint32_t kMatchLimit = 20'000'000;
constexpr uint32_t kDepthLimit = 100'000;
constexpr uint32_t kHeapLimitKib = 64 * 1024;

// Steps do not count what a possessive repetition runs over, so a pattern like `a*b|a` is quadratic within any limit of
// steps. Processor time is what is left to count. The patterns in use need 0.05 microseconds a byte.
constexpr double kAllowedSeconds = 30;
constexpr double kAllowedSecondsPerByte = 5e-6;
constexpr uint64_t kCalloutsPerLook = 64;  // at the clock

constexpr size_t kJitStackStart = 32 * 1024;
constexpr size_t kJitStackLimit = 8 * 1024 * 1024;

constexpr uint32_t kCompileOptions = PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C;

struct Free {
  void operator()(pcre2_code* code) const { pcre2_code_free(code); }
  void operator()(pcre2_compile_context* context) const { pcre2_compile_context_free(context); }
  void operator()(pcre2_match_context* context) const { pcre2_match_context_free(context); }
  void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
  void operator()(pcre2_jit_stack* stack) const { pcre2_jit_stack_free(stack); }
};
template <typename T>
using Handle = std::unique_ptr<T, Free>;

std::string ErrorText(int error) {
  PCRE2_UCHAR text[256];
  pcre2_get_error_message(error, text, sizeof(text));
  return reinterpret_cast<const char*>(text);
}

double ThreadSeconds() {
  timespec time = {};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

// What one text may cost.
struct TimeBudget {
  double began = ThreadSeconds();
  double bytes = 0;  // given to the matcher
  uint64_t callouts = 0;

  bool spent() const { return ThreadSeconds() - began > kAllowedSeconds + kAllowedSecondsPerByte * bytes; }
};

int OnCallout(pcre2_callout_block*, void* data) {
  auto* budget = static_cast<TimeBudget*>(data);
  const bool looks = ++budget->callouts % kCalloutsPerLook == 0;
  return looks && budget->spent() ? PCRE2_ERROR_CALLOUT : 0;
}

}  // namespace

struct RegexScratch::Parts {
  TimeBudget budget;
  Handle<pcre2_match_context> context;
  Handle<pcre2_match_data> data;
  Handle<pcre2_jit_stack> stack;
};

RegexScratch::RegexScratch() : parts_(std::make_unique<Parts>()) {
  parts_->context.reset(pcre2_match_context_create(nullptr));
  parts_->data.reset(pcre2_match_data_create(1, nullptr));
  parts_->stack.reset(pcre2_jit_stack_create(kJitStackStart, kJitStackLimit, nullptr));
  if (parts_->context == nullptr) return;
  pcre2_set_match_limit(parts_->context.get(), kMatchLimit);
  pcre2_set_depth_limit(parts_->context.get(), kDepthLimit);
  pcre2_set_callout(parts_->context.get(), &OnCallout, &parts_->budget);
  pcre2_set_heap_limit(parts_->context.get(), kHeapLimitKib);
  if (parts_->stack != nullptr) pcre2_jit_stack_assign(parts_->context.get(), nullptr, parts_->stack.get());
}
RegexScratch::~RegexScratch() = default;

struct Regex::Code {
  Handle<pcre2_code> handle;
};

Regex::Regex() : code_(std::make_unique<Code>()) {}
Regex::Regex(Regex&&) noexcept = default;
Regex& Regex::operator=(Regex&&) noexcept = default;
Regex::~Regex() = default;

absl::StatusOr<Regex> Regex::Compile(absl::string_view pattern) {
  ASSIGN_OR_RETURN(const std::string translated, TranslateRegex(pattern));
  const Handle<pcre2_compile_context> context(pcre2_compile_context_create(nullptr));
  if (context == nullptr) return absl::ResourceExhaustedError("no memory for a regular expression");
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  int error = 0;
  PCRE2_SIZE offset = 0;
  Regex regex;
  regex.pattern_ = std::string(pattern);
  regex.code_->handle.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                                          kCompileOptions, &error, &offset, context.get()));
  if (regex.code_->handle == nullptr) {
    return InvalidInput("TOKENIZER_UNSUPPORTED",
                        absl::StrFormat("regular expression '%s': %s", Excerpt(pattern, 200), ErrorText(error)));
  }
  // Where the machine has no just-in-time compiler the interpreter gives the same matches.
  pcre2_jit_compile(regex.code_->handle.get(), PCRE2_JIT_COMPLETE);
  return regex;
}

absl::Status Regex::FindAll(absl::string_view text, RegexScratch* scratch, std::vector<Match>* matches) const {
  RegexScratch::Parts& parts = *scratch->parts_;
  if (parts.context == nullptr || parts.data == nullptr) return absl::ResourceExhaustedError("no memory for matching");
  parts.budget.bytes += static_cast<double>(text.size());
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  size_t position = 0;
  size_t last_end = std::string::npos;
  while (position <= text.size()) {
    const int result = pcre2_match(code_->handle.get(), subject, text.size(), position, PCRE2_NO_UTF_CHECK,
                                   parts.data.get(), parts.context.get());
    if (result == PCRE2_ERROR_NOMATCH) break;
    if (result < 0) {
      return InvalidInput(
          "TOKENIZER_REGEX_LIMIT",
          absl::StrFormat("regular expression '%s' gave up at byte %d of a text: %s", Excerpt(pattern_, 200), position,
                          result == PCRE2_ERROR_CALLOUT ? "it takes too much time" : ErrorText(result)));
    }
    const PCRE2_SIZE* ends = pcre2_get_ovector_pointer(parts.data.get());
    if (ends[0] == ends[1] && ends[1] == last_end) {  // nothing, right after the last match: look one character on
      if (position == text.size()) break;
      NextCodePoint(text, &position);
      continue;
    }
    matches->push_back({ends[0], ends[1]});
    position = last_end = ends[1];
  }
  return absl::OkStatus();
}

void FindAllLiteral(absl::string_view text, absl::string_view literal, std::vector<Match>* matches) {
  if (literal.empty()) return;
  for (size_t at = text.find(literal); at != absl::string_view::npos; at = text.find(literal, at + literal.size())) {
    matches->push_back({at, at + literal.size()});
  }
}

}  // namespace quantd
