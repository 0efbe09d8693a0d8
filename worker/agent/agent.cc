#include "worker/agent/agent.h"

#include <algorithm>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/logging.h"
#include "core/base/status.h"
#include "worker/agent/host.h"
#include "worker/agent/retry.h"

namespace quantd {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr absl::Duration kFirstBackoff = absl::Milliseconds(100);
constexpr absl::Duration kAnswerTime = absl::Seconds(5);  // for a call, beyond its poll
constexpr absl::Duration kShortestDeadline = absl::Milliseconds(10);
// Pauses after a long poll that was answered early with nothing new: doubled each time up to what the server asked for.
constexpr absl::Duration kFirstPause = absl::Milliseconds(10);
constexpr absl::Duration kLongestPause = absl::Seconds(1);
constexpr int kSilenceBeforeReconnect = 2;  // calls without an answer

std::string RandomIncarnation() {
  std::random_device random;
  return absl::StrFormat("%08x%08x%08x%08x", random(), random(), random(), random());
}

absl::Duration Since(JobTable::TimePoint begin) {
  return absl::FromChrono(SteadyClock::now() - begin);
}

}  // namespace

Agent::Agent(AgentOptions options, AgentServices services)
    : options_(std::move(options)),
      incarnation_(RandomIncarnation()),
      server_(options_.server),
      files_(services.files),
      backoff_(kFirstBackoff),
      quarantine_(options_.quarantine),
      jobs_(options_.runner, {server_, services.files, services.spawner}, options_.slots,
            [this](JobRunner::Change change) { OnChange(change); }) {
  jobs_.set_on_result([this](const v1::FinishedJob& result) { quarantine_.Record(result, SteadyClock::now()); });
}

Agent::~Agent() = default;

absl::Status Agent::Run() {
  Log(Severity::kInfo, "worker_started",
      {{"worker", options_.worker_id}, {"server", options_.server}, {"slots", absl::StrCat(options_.slots)}});
  while (!DrainFinished()) {
    const Exchange exchange = NextExchange();
    const absl::StatusOr<v1::SynchronizeResponse> response =
        server_.Synchronize(exchange.request, {exchange.deadline, exchange.interrupted});
    if (response.ok()) {
      HandleResponse(exchange, *response);
    } else {
      RETURN_IF_ERROR(HandleFailure(exchange, response.status()));
    }
  }
  Log(Severity::kInfo, "worker_drained", {{"worker", options_.worker_id}});
  return absl::OkStatus();
}

void Agent::Drain() {
  draining_ = true;
  OnChange(JobRunner::Change::kEnd);
}

bool Agent::DrainFinished() {
  if (!draining_) return false;
  if (!drain_until_.has_value()) {
    drain_uploads_until_ = SteadyClock::now() + absl::ToChronoNanoseconds(options_.runner.drain_grace);
    drain_until_ = *drain_uploads_until_ + absl::ToChronoNanoseconds(options_.drain_limit);
    jobs_.StopAll(StopReason::kDrain);
  }
  if (SteadyClock::now() >= *drain_uploads_until_) jobs_.StopAll(StopReason::kDrainOver);
  return (drain_tried_ && jobs_.all_ended() && jobs_.all_acknowledged()) || SteadyClock::now() >= *drain_until_;
}

bool Agent::TakesWork() const {
  return !draining_ && quarantine_.Left(SteadyClock::now()) == absl::ZeroDuration();
}

// Ends the call or the pause under way. Called by runners and by Drain().
void Agent::OnChange(JobRunner::Change change) {
  std::stop_source interrupt(std::nostopstate);
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (change == JobRunner::Change::kProgress && Since(last_sent_) < options_.progress_interval) return;
    interrupt = interrupt_;
  }
  interrupt.request_stop();
}

// Every change from here on interrupts; every change before is seen by the request that is made next.
std::stop_token Agent::NewInterrupt() {
  const std::lock_guard<std::mutex> lock(mutex_);
  interrupt_ = std::stop_source();
  last_sent_ = SteadyClock::now();
  return interrupt_.get_token();
}

Agent::Exchange Agent::NextExchange() {
  Exchange exchange;
  exchange.interrupted = NewInterrupt();
  jobs_.Update(SteadyClock::now());
  v1::SynchronizeRequest& request = exchange.request;
  request.set_worker_id(options_.worker_id);
  request.set_incarnation(incarnation_);
  *request.mutable_capabilities() = HostCapabilities(files_, options_.runner.scratch_dir);
  request.set_slots(TakesWork() || draining_ ? options_.slots : 0);
  request.set_unfit(quarantine_.Why(SteadyClock::now()));
  request.set_draining(draining_);
  jobs_.Report(request);
  const absl::Duration poll = Poll();
  request.set_poll_ms(static_cast<int32_t>(absl::ToInt64Milliseconds(poll)));
  exchange.deadline = Deadline(poll);
  exchange.sent_at = SteadyClock::now();
  return exchange;
}

absl::Duration Agent::Poll() const {
  const bool leaving = draining_ && jobs_.all_ended();
  if (answer_now_ || leaving || !jobs_.all_acknowledged()) return absl::ZeroDuration();
  const TimePoint now = SteadyClock::now();
  absl::Duration poll = std::min(options_.idle_poll, jobs_.ShortestLease() / 3);
  const absl::Duration quarantined = quarantine_.Left(now);
  if (quarantined > absl::ZeroDuration()) poll = std::min(poll, quarantined);
  if (drain_uploads_until_.has_value()) poll = std::min(poll, absl::FromChrono(*drain_uploads_until_ - now));
  return std::max(poll, absl::ZeroDuration());
}

// A call must not outlast the moment at which a job has to be ended.
absl::Duration Agent::Deadline(absl::Duration poll) const {
  const TimePoint now = SteadyClock::now();
  absl::Duration deadline = std::min(poll + kAnswerTime, jobs_.UntilFence(now));
  if (drain_until_.has_value()) deadline = std::min(deadline, absl::FromChrono(*drain_until_ - now));
  return std::max(deadline, kShortestDeadline);
}

void Agent::HandleResponse(const Exchange& exchange, const v1::SynchronizeResponse& response) {
  if (failures_ > 0) Log(Severity::kInfo, "server_reached", {{"server", options_.server}});
  failures_ = 0;
  backoff_ = kFirstBackoff;
  drain_tried_ = drain_tried_ || exchange.request.draining();
  jobs_.Renew(exchange.request, exchange.sent_at);
  const bool news = jobs_.Apply(response, TakesWork());
  answer_now_ = news;
  if (response.server_draining()) server_.TryNextServer();

  const absl::Duration poll = absl::Milliseconds(exchange.request.poll_ms());
  const bool expected = poll > absl::ZeroDuration() ? Since(exchange.sent_at) >= poll / 2 : jobs_.all_acknowledged();
  if (news || expected) {
    early_answers_ = 0;
    return;
  }
  const absl::Duration asked = std::min(absl::Milliseconds(response.next_call_ms()), kLongestPause);
  const absl::Duration pause = kFirstPause * (1 << std::min(early_answers_++, 6));
  Pause(std::min(pause, std::max(asked, kFirstPause)), exchange.interrupted);
}

absl::Status Agent::HandleFailure(const Exchange& exchange, const absl::Status& status) {
  answer_now_ = true;  // renew leases first
  if (status.code() == absl::StatusCode::kCancelled && exchange.interrupted.stop_requested()) {
    return absl::OkStatus();
  }
  if (ReasonOf(status) == "WORKER_REPLACED") {
    jobs_.StopAll(StopReason::kLostLease);
    return status;
  }
  drain_tried_ = drain_tried_ || exchange.request.draining();
  if (++failures_ == 1) {
    Log(Severity::kWarning, "server_not_reached", {{"server", options_.server}, {"reason", ReasonOf(status)}},
        absl::StrCat(status.ToString(), "; trying again until it answers"));
  }
  const bool silent = status.code() == absl::StatusCode::kDeadlineExceeded;
  if (silent && failures_ % kSilenceBeforeReconnect == 0) server_.Reconnect();
  if (status.code() == absl::StatusCode::kUnavailable) server_.TryNextServer();
  if (!DrainFinished()) Pause(backoff_, exchange.interrupted);
  backoff_ = std::min({backoff_ * 2, options_.max_backoff, std::max(kFirstBackoff, jobs_.ShortestLease() / 12)});
  return absl::OkStatus();
}

void Agent::Pause(absl::Duration duration, const std::stop_token& interrupted) const {
  const TimePoint now = SteadyClock::now();
  duration = std::min(duration, jobs_.UntilFence(now));
  if (drain_until_.has_value()) duration = std::min(duration, absl::FromChrono(*drain_until_ - now));
  if (duration > absl::ZeroDuration()) SleepUnlessStopped(duration, interrupted);
}

}  // namespace quantd
