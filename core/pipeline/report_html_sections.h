// The parts of report.html around its plots: what was lost in words, the main figures, tables and how it was measured.
// Each is a piece of HTML, empty where the report has nothing for it.
#ifndef QUANTD_CORE_PIPELINE_REPORT_HTML_SECTIONS_H_
#define QUANTD_CORE_PIPELINE_REPORT_HTML_SECTIONS_H_

#include <string>

#include "core/pipeline/report.h"

namespace quantd {

// Sentences for readers who do not know what a perplexity is.
std::string PlainWords(const Report& report);

std::string CardsSection(const Report& report);
std::string WarningsSection(const Report& report);
std::string LayersSection(const Report& report);
// Model, texts, protocol, digests, machine.
std::string MeasurementSection(const Report& report);
std::string RecipeSection(const Report& report);

}  // namespace quantd

#endif  // QUANTD_CORE_PIPELINE_REPORT_HTML_SECTIONS_H_
