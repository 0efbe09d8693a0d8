#include "server/api/list_query.h"

#include <algorithm>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/status.h"
#include "server/api/page_token.h"
#include "server/api/resource_names.h"

namespace quantd {
namespace {

constexpr size_t kMaxFilterBytes = 1024;
constexpr size_t kMaxFilterValues = 32;

absl::Status FilterInvalid(absl::string_view why) {
  return WithField(
      InvalidInput("FILTER_INVALID",
                   absl::StrCat("filter: ", why, "; an example is: state = QUEUED OR RUNNING AND recipe = gptq")),
      "filter");
}

bool IsWordCharacter(char c) {
  return absl::ascii_isalnum(static_cast<unsigned char>(c)) || absl::StrContains("_-./", c);
}

// Splits into words, quoted values (kept with their leading quote) and "=".
absl::StatusOr<std::vector<std::string>> Tokenize(absl::string_view text) {
  std::vector<std::string> tokens;
  while (!(text = absl::StripLeadingAsciiWhitespace(text)).empty()) {
    size_t length = 1;
    if (text[0] == '"') {
      const size_t end = text.find('"', 1);
      if (end == absl::string_view::npos) return FilterInvalid("a quote is not closed");
      tokens.push_back(std::string(text.substr(0, end)));
      text.remove_prefix(end + 1);
      continue;
    }
    if (text[0] != '=') {
      const auto end = std::find_if_not(text.begin(), text.end(), &IsWordCharacter);
      length = static_cast<size_t>(end - text.begin());
      if (length == 0) return FilterInvalid(absl::StrFormat("'%c' is not expected", text[0]));
    }
    tokens.push_back(std::string(text.substr(0, length)));
    text.remove_prefix(length);
  }
  return tokens;
}

class FilterParser {
 public:
  FilterParser(std::vector<std::string> tokens, JobQuery& query) : tokens_(std::move(tokens)), query_(query) {}

  absl::Status Parse() {
    while (true) {
      RETURN_IF_ERROR(ParseTerm());
      if (next_ == tokens_.size()) return absl::OkStatus();
      if (Take() != "AND") return FilterInvalid(absl::StrFormat("expected AND before '%s'", tokens_[next_ - 1]));
    }
  }

 private:
  std::string Take() { return next_ < tokens_.size() ? tokens_[next_++] : std::string(); }

  absl::Status ParseTerm() {
    const std::string key = Take();
    if (std::find(keys_.begin(), keys_.end(), key) != keys_.end()) {
      return FilterInvalid(absl::StrFormat("'%s' is there twice", key));
    }
    keys_.push_back(key);
    if (key != "state" && key != "recipe" && key != "model") {
      return FilterInvalid(absl::StrFormat("'%s' is no key; known are state, recipe, model", key));
    }
    if (Take() != "=") return FilterInvalid(absl::StrFormat("expected '=' after '%s'", key));
    do {
      RETURN_IF_ERROR(AddValue(key));
    } while (next_ < tokens_.size() && tokens_[next_] == "OR" && ++next_);
    return absl::OkStatus();
  }

  absl::Status AddValue(const std::string& key) {
    const std::string token = Take();
    const bool quoted = absl::StartsWith(token, "\"");
    if (token.empty() || token == "=" || (!quoted && (token == "AND" || token == "OR"))) {
      return FilterInvalid(absl::StrFormat("a value for '%s' is missing", key));
    }
    if (++values_ > kMaxFilterValues) return FilterInvalid(absl::StrFormat("more than %d values", kMaxFilterValues));
    const std::string value = quoted ? token.substr(1) : token;
    if (key == "recipe") query_.presets.push_back(value);
    if (key == "model") query_.models.push_back(value);
    return key == "state" ? AddState(value) : absl::OkStatus();
  }

  absl::Status AddState(const std::string& value) {
    JobState state;
    if (!v1::QuantJob::State_Parse(value, &state) || state == v1::QuantJob::STATE_UNSPECIFIED) {
      return FilterInvalid(absl::StrFormat("'%s' is no state", value));
    }
    query_.states.push_back(state);
    return absl::OkStatus();
  }

  const std::vector<std::string> tokens_;
  size_t next_ = 0;
  size_t values_ = 0;
  std::vector<std::string> keys_;
  JobQuery& query_;
};

std::string Binding(const v1::ListQuantJobsRequest& request, absl::string_view tenant) {
  return absl::StrCat(TenantName(tenant), "\n", request.filter(), request.show_deleted() ? "\ndeleted" : "");
}

}  // namespace

absl::Status ParseFilter(absl::string_view filter, JobQuery& query) {
  if (absl::StripAsciiWhitespace(filter).empty()) return absl::OkStatus();
  if (filter.size() > kMaxFilterBytes) return FilterInvalid(absl::StrFormat("longer than %d bytes", kMaxFilterBytes));
  ASSIGN_OR_RETURN(std::vector<std::string> tokens, Tokenize(filter));
  return FilterParser(std::move(tokens), query).Parse();
}

absl::StatusOr<JobQuery> ParseListRequest(const v1::ListQuantJobsRequest& request) {
  JobQuery query;
  ASSIGN_OR_RETURN(query.tenant, ParseParent(request.parent()));
  ASSIGN_OR_RETURN(query.limit, RowsForPage(request.page_size()));
  RETURN_IF_ERROR(ParseFilter(request.filter(), query));
  ASSIGN_OR_RETURN(query.before_sequence, ParsePageToken(request.page_token(), Binding(request, query.tenant)));
  query.show_deleted = request.show_deleted();
  return query;
}

std::string NextPageToken(const v1::ListQuantJobsRequest& request, const JobRecord& last) {
  return PageToken(Binding(request, last.tenant), last.sequence);
}

}  // namespace quantd
