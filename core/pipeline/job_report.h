// Fills a report from a plan and from layers as they are done.
#ifndef QUANTD_CORE_PIPELINE_JOB_REPORT_H_
#define QUANTD_CORE_PIPELINE_JOB_REPORT_H_

#include "core/pipeline/job_plan.h"
#include "core/pipeline/layer_record.h"
#include "core/pipeline/report.h"

namespace quantd {

// What is known before any work.
Report ReportHead(const JobPlan& plan, const std::string& model_fingerprint);

// Its row, and what it adds to counters, sizes and warnings. In execution order.
void AddLayer(const LayerRecord& layer, Report& report);

// Once all layers are added.
void FillSize(const JobPlan& plan, uint64_t quantized_bytes, Report& report);

}  // namespace quantd

#endif  // QUANTD_CORE_PIPELINE_JOB_REPORT_H_
