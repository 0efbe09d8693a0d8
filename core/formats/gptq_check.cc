#include "core/formats/gptq_check.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/status.h"

namespace quantd {
namespace {

constexpr int kLegalBits[] = {2, 3, 4, 8};
constexpr int64_t kMaxSize = int64_t{1} << 24;

std::string SchemeText(const GptqScheme& scheme) {
  return absl::StrFormat("%d bits, group %d, %s%s", scheme.bits, scheme.group_size,
                         scheme.symmetric ? "symmetric" : "asymmetric", scheme.act_order ? ", act-order" : "");
}

absl::Status CheckLengths(const GptqModule& module) {
  const GptqModuleShape& shape = module.shape;
  const size_t weights = static_cast<size_t>(shape.rows * shape.cols);
  const size_t groups = static_cast<size_t>(shape.rows * shape.groups());
  const bool index_fits = module.group_index.empty() || module.group_index.size() == static_cast<size_t>(shape.cols);
  if (module.codes.size() == weights && module.scales.size() == groups && module.zeros.size() == groups && index_fits) {
    return absl::OkStatus();
  }
  return absl::InternalError(
      absl::StrFormat("%s: %d codes, %d scales, %d zeros, %d group indices for a %d x %d module "
                      "of %d groups",
                      shape.name, module.codes.size(), module.scales.size(), module.zeros.size(),
                      module.group_index.size(), shape.rows, shape.cols, shape.groups()));
}

absl::Status CheckCodes(const GptqModule& module) {
  const int limit = 1 << module.shape.scheme.bits;
  const auto largest = std::max_element(module.codes.begin(), module.codes.end());
  if (*largest < limit) return absl::OkStatus();
  return GptqCannotHold(module.shape.name,
                        absl::StrFormat("code %d at flat index %d does not fit %d bits; export with "
                                        "more bits",
                                        *largest, largest - module.codes.begin(), module.shape.scheme.bits));
}

absl::Status CheckZero(const GptqModule& module, int64_t index, GptqVersion version) {
  const GptqScheme& scheme = module.shape.scheme;
  const int zero = module.zeros[index];
  const auto refuse = [&](absl::string_view rule) {
    return GptqCannotHold(module.shape.name,
                          absl::StrFormat("zero %d of row %d, group %d %s", zero, index / module.shape.groups(),
                                          index % module.shape.groups(), rule));
  };
  if (zero >= 1 << scheme.bits) {
    return refuse(absl::StrFormat("lies outside 0..%d; choose a grid whose zeros lie inside", (1 << scheme.bits) - 1));
  }
  if (scheme.symmetric && zero != 1 << (scheme.bits - 1)) {
    return refuse(
        absl::StrFormat("is not %d, as a symmetric scheme claims; mark the scheme asymmetric", 1 << (scheme.bits - 1)));
  }
  if (version == GptqVersion::kV1 && zero == 0) {
    return refuse("cannot be stored in version 1, which holds zero - 1; export as gptq_v2");
  }
  return absl::OkStatus();
}

absl::Status CheckZeros(const GptqModule& module, GptqVersion version) {
  for (size_t i = 0; i < module.zeros.size(); ++i) {
    RETURN_IF_ERROR(CheckZero(module, static_cast<int64_t>(i), version));
  }
  return absl::OkStatus();
}

absl::Status CheckScales(const GptqModule& module) {
  const auto bad = std::find_if(module.scales.begin(), module.scales.end(), [](float scale) {
    return !std::isfinite(scale) || std::signbit(scale) || F16ToF32(F32ToF16(scale)) != scale;
  });
  if (bad == module.scales.end()) return absl::OkStatus();
  const int64_t index = bad - module.scales.begin();
  return GptqCannotHold(
      module.shape.name,
      absl::StrFormat("scale %.9g of row %d, group %d is not a finite non-negative float16; quantize with scales "
                      "rounded to float16",
                      *bad, index / module.shape.groups(), index % module.shape.groups()));
}

absl::Status CheckGroupIndex(const GptqModule& module) {
  const GptqScheme& scheme = module.shape.scheme;
  for (size_t c = 0; c < module.group_index.size(); ++c) {
    const int64_t group = module.group_index[c];
    if (group < 0 || group >= module.shape.groups()) {
      return GptqCannotHold(module.shape.name, absl::StrFormat("input %d is in group %d of %d; the index is broken", c,
                                                               group, module.shape.groups()));
    }
    const int64_t regular = scheme.group_size > 0 ? static_cast<int64_t>(c) / scheme.group_size : 0;
    if (!scheme.act_order && group != regular) {
      return GptqCannotHold(module.shape.name,
                            absl::StrFormat("input %d is in group %d, but without desc_act it must be in %d; mark the "
                                            "scheme act-order or use static groups",
                                            c, group, regular));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckDivides(const GptqModuleShape& shape, absl::string_view what, int64_t size, int64_t unit) {
  if (size > 0 && size <= kMaxSize && size % unit == 0) return absl::OkStatus();
  return GptqCannotHold(shape.name, absl::StrFormat("%d %s at %d bits; the layout needs a multiple of %d, at most %d; "
                                                    "leave this module dense or choose other bits",
                                                    size, what, shape.scheme.bits, unit, kMaxSize));
}

}  // namespace

absl::Status GptqCannotHold(absl::string_view name, absl::string_view rule_and_remedy) {
  return InvalidInput("EXPORT_TARGET_CANNOT_HOLD", absl::StrCat("gptq export, ", name, ": ", rule_and_remedy));
}

absl::Status CheckGptqShape(const GptqModuleShape& shape) {
  const GptqScheme& scheme = shape.scheme;
  if (std::find(std::begin(kLegalBits), std::end(kLegalBits), scheme.bits) == std::end(kLegalBits)) {
    return GptqCannotHold(shape.name,
                          absl::StrFormat("%d bits; the layout holds 2, 3, 4 and 8: choose one of these, or "
                                          "drop the export",
                                          scheme.bits));
  }
  const int64_t unit = scheme.bits == 3 ? 32 : 32 / scheme.bits;
  RETURN_IF_ERROR(CheckDivides(shape, "inputs", shape.cols, unit));
  RETURN_IF_ERROR(CheckDivides(shape, "outputs", shape.rows, unit));
  const bool group_fits = scheme.group_size == -1 || (scheme.group_size > 0 && shape.cols % scheme.group_size == 0);
  if (group_fits) return absl::OkStatus();
  return GptqCannotHold(shape.name, absl::StrFormat("group size %d does not divide %d inputs; choose a divisor, or -1 "
                                                    "for one group a row",
                                                    scheme.group_size, shape.cols));
}

absl::Status CheckGptqFusedSets(absl::Span<const GptqModuleShape> shapes) {
  std::map<std::string, const GptqModuleShape*> first;
  for (const GptqModuleShape& shape : shapes) {
    if (shape.fused_set.empty()) continue;
    const GptqModuleShape& other = *first.emplace(shape.fused_set, &shape).first->second;
    if (other.scheme == shape.scheme) continue;
    return GptqCannotHold(shape.name, absl::StrFormat("has %s, but %s has %s; consumers fuse the two, so give them one "
                                                      "scheme",
                                                      SchemeText(shape.scheme), other.name, SchemeText(other.scheme)));
  }
  return absl::OkStatus();
}

absl::Status CheckGptqValues(const GptqModule& module, GptqVersion version) {
  RETURN_IF_ERROR(CheckLengths(module));
  RETURN_IF_ERROR(CheckCodes(module));
  RETURN_IF_ERROR(CheckZeros(module, version));
  RETURN_IF_ERROR(CheckScales(module));
  return CheckGroupIndex(module);
}

}  // namespace quantd
