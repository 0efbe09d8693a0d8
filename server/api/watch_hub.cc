#include "server/api/watch_hub.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "core/base/clock.h"
#include "core/base/status.h"
#include "server/api/find_job.h"
#include "server/api/rpc_call.h"

namespace quantd {
namespace {

// How often clients that do not read are looked for.
constexpr absl::Duration kRound = absl::Milliseconds(250);
// Reading all watched jobs is followed by so many times its own duration without.
constexpr int kLookAtAllPause = 10;

absl::Status CheckRevision(int64_t from_revision, int64_t newest) {
  if (from_revision >= 0 && from_revision <= newest) return absl::OkStatus();
  return WithField(ReasonError(absl::StatusCode::kOutOfRange, "REVISION_IN_FUTURE",
                               absl::StrFormat("from_revision is %d, the newest revision is %d; pass the last one "
                                               "seen, or 0",
                                               from_revision, newest)),
                   "from_revision");
}

}  // namespace

WatchHub::WatchHub(WatchHubOptions options, WatchServices services)
    : options_(options), services_(std::move(services)), thread_([this] { Run(); }) {
  services_.scheduler.news().SetListener([this](absl::string_view job) {
    Note([&](Happened& happened) {
      if (job.empty()) happened.any_changed = true;
      if (!job.empty()) happened.changed.emplace(job);
    });
  });
}

WatchHub::~WatchHub() {
  services_.scheduler.news().SetListener(nullptr);
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  woken_.notify_all();
  thread_.join();
}

grpc::ServerWriteReactor<v1::WatchQuantJobResponse>* WatchHub::Watch(grpc::CallbackServerContext& context,
                                                                     const v1::WatchQuantJobRequest& request) {
  services_.metrics.Add(Metric::kWatchStreams, 1);
  const absl::Time begin = RealClock().Now();
  WatchStream::Events events;
  events.on_idle = [this] { Note([](Happened& happened) { happened.idle = true; }); };
  events.on_finish = [this, begin](const absl::Status& status) {
    return FinishRpc(services_.metrics, "WatchQuantJob", begin, status);
  };
  events.on_done = [this](const WatchStream* stream) {
    services_.metrics.Add(Metric::kWatchStreams, -1);
    Note([&](Happened& happened) { happened.gone.push_back(stream); });
  };
  const auto stream = std::make_shared<WatchStream>(context, request, std::move(events));
  stream->KeepUntilDone(stream);
  Note([&](Happened& happened) { happened.arrived.push_back(stream); });
  return stream.get();
}

void WatchHub::Note(const std::function<void(Happened& happened)>& what) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    what(happened_);
    noted_ = true;
  }
  woken_.notify_one();
}

void WatchHub::Run() {
  while (true) {
    Happened happened = Await();
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (stopping_) return;
    }
    Admit(happened);
    MarkChanged(happened);
    const absl::Time now = RealClock().Now();
    const bool round = now >= next_round_;
    if (round) next_round_ = now + kRound;
    Serve(/*all=*/round || happened.idle || services_.scheduler.watches_ended());
  }
}

WatchHub::Happened WatchHub::Await() {
  const absl::Time now = RealClock().Now();
  const absl::Time until = any_changed_ ? std::min(next_round_, next_look_at_all_) : next_round_;
  const absl::Duration patience = std::clamp(until - now, absl::ZeroDuration(), kRound);
  std::unique_lock<std::mutex> lock(mutex_);
  woken_.wait_for(lock, absl::ToChronoNanoseconds(patience), [this] { return noted_ || stopping_; });
  noted_ = false;
  return std::exchange(happened_, {});
}

void WatchHub::Admit(Happened& happened) {
  for (std::shared_ptr<WatchStream>& stream : happened.arrived) watchers_.push_back({.stream = std::move(stream)});
  if (happened.gone.empty()) return;
  const std::unordered_set<const WatchStream*> gone(happened.gone.begin(), happened.gone.end());
  watchers_.remove_if([&](const Watcher& watcher) { return gone.count(watcher.stream.get()) > 0; });
}

void WatchHub::MarkChanged(const Happened& happened) {
  any_changed_ = any_changed_ || happened.any_changed;
  const bool all = any_changed_ && RealClock().Now() >= next_look_at_all_;
  if (all) any_changed_ = false;
  if (!all && happened.changed.empty()) return;
  for (Watcher& watcher : watchers_) {
    watcher.changed = watcher.changed || all || happened.changed.count(watcher.id) > 0;
  }
  if (!all) return;
  const absl::Time begin = RealClock().Now();
  Serve(/*all=*/true);
  next_look_at_all_ = RealClock().Now() + kLookAtAllPause * (RealClock().Now() - begin);
}

void WatchHub::Serve(bool all) {
  News news;
  for (Watcher& watcher : watchers_) {
    if (all || watcher.changed) ServeOne(watcher, news);
  }
}

void WatchHub::ServeOne(Watcher& watcher, News& news) {
  if (CutOffIfSlow(watcher) || !watcher.stream->idle()) return;
  if (watcher.terminal) return watcher.stream->End(absl::OkStatus());
  const bool begins = watcher.id.empty();
  if (!begins && services_.scheduler.watches_ended()) {
    return watcher.stream->End(ReasonError(absl::StatusCode::kUnavailable, "DRAINING",
                                           "the server is shutting down; watch again from the last revision seen"));
  }
  if (!watcher.changed) return;
  watcher.changed = false;
  const absl::Status status = begins ? Begin(watcher, news) : Continue(watcher, news);
  if (!status.ok()) watcher.stream->End(status);
}

absl::Status WatchHub::Begin(Watcher& watcher, News& news) {
  const v1::WatchQuantJobRequest& request = watcher.stream->request();
  ASSIGN_OR_RETURN(const int64_t newest, services_.store.LastRevision());
  ASSIGN_OR_RETURN(JobRecord record, FindJob(services_.store, request.name()));
  RETURN_IF_ERROR(CheckRevision(request.from_revision(), newest));
  watcher.id = record.id;
  watcher.revision = request.from_revision();
  if (watcher.revision > 0) {
    // An end that the client has seen already is followed by nothing.
    watcher.terminal = IsTerminal(record.job.state()) && record.job.revision() <= watcher.revision;
    return Continue(watcher, news);
  }
  Give(watcher, {Message(std::move(record.job))});
  return absl::OkStatus();
}

absl::Status WatchHub::Continue(Watcher& watcher, News& news) {
  ASSIGN_OR_RETURN(std::vector<WatchMessage> messages, ChangesAfter(watcher.id, watcher.revision, news));
  Give(watcher, std::move(messages));
  if (watcher.terminal && watcher.stream->idle()) watcher.stream->End(absl::OkStatus());
  return absl::OkStatus();
}

absl::StatusOr<std::vector<WatchMessage>> WatchHub::ChangesAfter(const std::string& id, int64_t revision, News& news) {
  const auto known = news.find({id, revision});
  if (known != news.end()) return known->second;
  ASSIGN_OR_RETURN(std::vector<v1::QuantJob> changes, services_.store.ChangesAfter(id, revision));
  std::vector<WatchMessage> messages;
  for (v1::QuantJob& job : changes) messages.push_back(Message(std::move(job)));
  news[{id, revision}] = messages;
  return messages;
}

void WatchHub::Give(Watcher& watcher, std::vector<WatchMessage> messages) {
  if (messages.empty()) return;
  watcher.revision = messages.back()->job().revision();
  watcher.terminal = IsTerminal(messages.back()->job().state());
  watcher.stream->Send(std::move(messages));
}

bool WatchHub::CutOffIfSlow(Watcher& watcher) {
  const absl::Time now = RealClock().Now();
  if (watcher.too_slow_since == absl::InfiniteFuture()) {
    if (now - watcher.stream->busy_since() < options_.patience) return false;
    watcher.too_slow_since = now;
    watcher.stream->End(ReasonError(absl::StatusCode::kResourceExhausted, "WATCHER_TOO_SLOW",
                                    absl::StrFormat("the client did not take a message for %s; watch again from the "
                                                    "last revision seen",
                                                    absl::FormatDuration(options_.patience))));
  } else if (now - watcher.too_slow_since >= options_.patience) {
    watcher.stream->Abort();
  }
  return true;
}

WatchMessage WatchHub::Message(v1::QuantJob job) const {
  auto message = std::make_shared<v1::WatchQuantJobResponse>();
  *message->mutable_job() = services_.shown(std::move(job));
  return message;
}

}  // namespace quantd
