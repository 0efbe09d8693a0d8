#include "server/api/watch_hub.h"

#include <algorithm>

#include "absl/strings/str_format.h"
#include "core/base/clock.h"
#include "core/base/status.h"
#include "server/api/find_job.h"
#include "server/api/rpc_call.h"

namespace quantd {
namespace {

// How often clients that do not read are looked for.
constexpr absl::Duration kRound = absl::Milliseconds(250);

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
  services_.scheduler.changes().SetListener([this] { Wake(); });
}

WatchHub::~WatchHub() {
  services_.scheduler.changes().SetListener(nullptr);
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
  events.on_idle = [this] { Wake(); };
  events.on_finish = [this, begin](const absl::Status& status) {
    return FinishRpc(services_.metrics, "WatchQuantJob", begin, status);
  };
  events.on_done = [this](const WatchStream* stream) {
    services_.metrics.Add(Metric::kWatchStreams, -1);
    const std::lock_guard<std::mutex> lock(mutex_);
    gone_.push_back(stream);
  };
  const auto stream = std::make_shared<WatchStream>(context, request, std::move(events));
  stream->KeepUntilDone(stream);
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    arrived_.push_back(stream);
    news_ = true;
  }
  woken_.notify_one();
  return stream.get();
}

void WatchHub::Wake() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    news_ = true;
  }
  woken_.notify_one();
}

void WatchHub::Run() {
  std::unique_lock<std::mutex> lock(mutex_);
  while (!stopping_) {
    woken_.wait_for(lock, absl::ToChronoNanoseconds(kRound), [this] { return news_ || stopping_; });
    news_ = false;
    for (std::shared_ptr<WatchStream>& stream : arrived_) watchers_.push_back({.stream = std::move(stream)});
    arrived_.clear();
    watchers_.remove_if([this](const Watcher& watcher) {
      return std::find(gone_.begin(), gone_.end(), watcher.stream.get()) != gone_.end();
    });
    gone_.clear();
    lock.unlock();
    Serve(services_.scheduler.changes().generation());
    lock.lock();
  }
}

void WatchHub::Serve(uint64_t generation) {
  News news;
  for (Watcher& watcher : watchers_) ServeOne(watcher, generation, news);
}

void WatchHub::ServeOne(Watcher& watcher, uint64_t generation, News& news) {
  if (CutOffIfSlow(watcher) || !watcher.stream->idle()) return;
  if (watcher.terminal) return watcher.stream->End(absl::OkStatus());
  const bool begins = watcher.id.empty();
  if (!begins && services_.scheduler.watches_ended()) {
    return watcher.stream->End(ReasonError(absl::StatusCode::kUnavailable, "DRAINING",
                                           "the server is shutting down; watch again from the last revision seen"));
  }
  if (!begins && watcher.looked_at == generation) return;
  watcher.looked_at = generation;
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
