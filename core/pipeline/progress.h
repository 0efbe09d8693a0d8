// Progress of a job: where it is, how much is done, how long the rest may take, and whether somebody wants it to stop.
#ifndef QUANTD_CORE_PIPELINE_PROGRESS_H_
#define QUANTD_CORE_PIPELINE_PROGRESS_H_

#include <atomic>
#include <functional>
#include <map>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace quantd {

struct ProgressState {
  std::string phase;  // plan, calibrate, quantize, pack, evaluate, publish
  int block = 0;      // blocks done
  int blocks = 0;
  std::string layer;       // being worked on, or what is measured: pass, block, sequence
  double fraction = 0;     // 0..1, never decreases
  double eta_seconds = 0;  // 0: not known yet
};

using ProgressCallback = std::function<void(const ProgressState&)>;

// Turns finished work into fractions. Work is counted in multiply-adds, so that the fraction is close to a share of
// time. Every call that reports work returns CANCELLED once `*cancelled` is set: callers pass it up. One thread at a
// time.
class Progress {
 public:
  // `cancelled` may be null; it must outlive this object.
  Progress(ProgressCallback callback, const std::atomic<bool>* cancelled);

  void SetTotalWork(double multiply_adds) { total_ = multiply_adds; }
  void SetBlocks(int blocks) { state_.blocks = blocks; }
  // Begins with so much already done by an earlier run; times left are extrapolated from this run's share alone.
  void Resume(double multiply_adds, int blocks_done);
  // Ends the running phase and begins this one; the clock time of each is in phase_seconds().
  absl::Status BeginPhase(absl::string_view phase);
  absl::Status SetBlock(int blocks_done);
  absl::Status SetLayer(absl::string_view layer);
  // The same with the next call that tells something.
  void NameLayer(std::string layer) { state_.layer = std::move(layer); }
  absl::Status Advance(double multiply_adds);

  double work_done() const { return done_; }  // multiply-adds, those of earlier runs included
  double total_work() const { return total_; }
  const ProgressState& state() const { return state_; }
  bool cancelled() const { return cancelled_ != nullptr && cancelled_->load(); }

  // Seconds a phase has taken, those entered several times added up.
  std::map<std::string, double> phase_seconds() const;

 private:
  absl::Status Publish();

  ProgressCallback callback_;
  const std::atomic<bool>* cancelled_;
  ProgressState state_;
  double done_ = 0;
  double total_ = 0;
  double resumed_fraction_ = 0;
  absl::Time start_;
  absl::Time phase_start_;
  std::map<std::string, double> phase_seconds_;
};

}  // namespace quantd

#endif  // QUANTD_CORE_PIPELINE_PROGRESS_H_
