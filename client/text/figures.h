// The figures of a finished job: what became smaller, what it cost, how it was measured.
#ifndef QUANTD_CLIENT_TEXT_FIGURES_H_
#define QUANTD_CLIENT_TEXT_FIGURES_H_

#include <string>

#include "quantd/v1/quant_job.pb.h"

namespace quantd {

// Aligned lines: size, bits per weight, perplexity before and after with standard errors, divergence, same-top-1,
// tokens/s with the kernel named, how it was measured, warnings. Lines without a figure are left out.
std::string FiguresText(const v1::QuantReport& report);

// The artifact's digest and the command that fetches it; empty when the job has none.
std::string ArtifactText(const v1::QuantJob& job);

// One line a layer, the largest output error first, at most `most` of them.
std::string LayersText(const v1::QuantReport& report, int most);

}  // namespace quantd

#endif  // QUANTD_CLIENT_TEXT_FIGURES_H_
