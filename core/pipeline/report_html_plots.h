// The plots of report.html: SVG elements without script, coloured by the classes of the page's style.
#ifndef QUANTD_CORE_PIPELINE_REPORT_HTML_PLOTS_H_
#define QUANTD_CORE_PIPELINE_REPORT_HTML_PLOTS_H_

#include <string>
#include <vector>

#include "core/eval/evaluate.h"
#include "core/pipeline/report.h"

namespace quantd {

// Relative output error: one column a block, one row a kind of layer, the shade from 0 to the largest finite error.
// A cell shows the worst of the layers that share it (experts).
std::string ErrorPlot(const std::vector<ReportLayer>& layers);

// Stored bits a weight: one bar a layer, in execution order.
std::string BitsPlot(const std::vector<ReportLayer>& layers);

// Perplexity before and after, with one standard error to each side. Empty when one of them is not finite.
std::string PerplexityPlot(const Comparison& comparison);

// Share of positions by divergence, on a logarithmic axis from the first to the last decade that holds any; mean and
// 99th percentile marked.
std::string KlPlot(const KlSummary& kl);

}  // namespace quantd

#endif  // QUANTD_CORE_PIPELINE_REPORT_HTML_PLOTS_H_
