#include "tests/testing/simulated_disk.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/file_system.h"

namespace quantd {
namespace {

constexpr uint64_t kPageBytes = 4096;
constexpr uint64_t kSectorBytes = 512;

struct DataChange {
  bool truncate = false;
  uint64_t offset = 0;  // or the new size
  std::string bytes;
};

void Apply(const DataChange& change, std::string& content) {
  if (change.truncate) {
    content.resize(change.offset);
    return;
  }
  content.resize(std::max<uint64_t>(content.size(), change.offset + change.bytes.size()));
  content.replace(change.offset, change.bytes.size(), change.bytes);
}

// A write as the disk may do it: page by page.
std::vector<DataChange> Pages(const DataChange& change) {
  if (change.truncate) return {change};
  std::vector<DataChange> pages;
  for (uint64_t done = 0; done < change.bytes.size();) {
    const uint64_t offset = change.offset + done;
    const uint64_t size = std::min(kPageBytes - offset % kPageBytes, change.bytes.size() - done);
    pages.push_back({false, offset, change.bytes.substr(done, size)});
    done += size;
  }
  return pages;
}

std::string ReadWhole(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

bool Happens(std::mt19937_64& random, double probability) {
  return std::uniform_real_distribution<double>(0, 1)(random) < probability;
}

}  // namespace

struct SimulatedDisk::Node {
  bool directory = false;
  uint64_t size_bytes = 0;           // as programs see it
  std::string durable;               // bytes that last
  std::vector<DataChange> unsynced;  // oldest first

  void Lose(std::mt19937_64& random, double kept, bool torn) {
    std::vector<DataChange> pages;
    for (const DataChange& change : unsynced) {
      for (DataChange& page : Pages(change)) pages.push_back(std::move(page));
    }
    if (torn && !pages.empty() && !pages.back().truncate) {
      const uint64_t sectors = pages.back().bytes.size() / kSectorBytes;
      pages.back().bytes.resize(kSectorBytes * std::uniform_int_distribution<uint64_t>(0, sectors)(random));
    }
    for (const DataChange& page : pages) {
      if (Happens(random, kept)) Apply(page, durable);
    }
    unsynced.clear();
    size_bytes = durable.size();
  }
};

SimulatedDisk::SimulatedDisk(const std::string& root) : root_(root) {
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root)) {
    auto node = std::make_shared<Node>();
    node->directory = entry.is_directory();
    if (!node->directory) node->durable = ReadWhole(entry.path());
    node->size_bytes = node->durable.size();
    durable_[entry.path().string()] = std::move(node);
  }
  visible_ = durable_;
}

SimulatedDisk::~SimulatedDisk() = default;

bool SimulatedDisk::Contains(absl::string_view path) const {
  return absl::StartsWith(path, absl::StrCat(root_, "/"));
}

void SimulatedDisk::SetFault(const DiskFault& fault) {
  const std::lock_guard<std::mutex> lock(mutex_);
  fault_ = fault;
  operations_ = 0;
  failed_path_.clear();
}

void SimulatedDisk::CutPowerAt(int64_t at, bool short_write) {
  SetFault({.at = at, .error_number = EIO, .short_write = short_write, .for_good = true, .power_cut = true});
}

int64_t SimulatedDisk::operations() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return operations_;
}

bool SimulatedDisk::failed() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return operations_ > fault_.at;
}

std::string SimulatedDisk::failed_path() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return failed_path_;
}

SimulatedDisk::Verdict SimulatedDisk::Next(DiskOperation operation, const std::string& path) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const std::vector<DiskOperation>& only = fault_.only;
  if (!only.empty() && std::find(only.begin(), only.end(), operation) == only.end()) return {};
  const int64_t number = operations_++;
  const bool fails = number == fault_.at || (fault_.for_good && number > fault_.at);
  if (!fails) return {};
  if (number == fault_.at) failed_path_ = path;
  return {fault_.error_number, fault_.short_write && operation == DiskOperation::kWrite};
}

SimulatedDisk::NodePtr SimulatedDisk::Find(const std::string& path) {
  const auto found = visible_.find(path);
  return found == visible_.end() ? nullptr : found->second;
}

void SimulatedDisk::Change(NameChange change) {
  if (!change.from.empty()) visible_.erase(change.from);
  if (change.node == nullptr) {
    visible_.erase(change.path);
  } else {
    visible_[change.path] = change.node;
  }
  unsynced_names_.push_back(std::move(change));
}

SimulatedDisk::NodePtr SimulatedDisk::Opened(const std::string& path) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (NodePtr node = Find(path); node != nullptr) return node;
  auto node = std::make_shared<Node>();
  Change({path, node, ""});
  return node;
}

void SimulatedDisk::Wrote(const NodePtr& file, uint64_t offset, absl::string_view bytes) {
  const std::lock_guard<std::mutex> lock(mutex_);
  file->unsynced.push_back({false, offset, std::string(bytes)});
  file->size_bytes = std::max<uint64_t>(file->size_bytes, offset + bytes.size());
}

void SimulatedDisk::Appended(const NodePtr& file, absl::string_view bytes) {
  const std::lock_guard<std::mutex> lock(mutex_);
  file->unsynced.push_back({false, file->size_bytes, std::string(bytes)});
  file->size_bytes += bytes.size();
}

void SimulatedDisk::Truncated(const NodePtr& file, uint64_t size_bytes) {
  const std::lock_guard<std::mutex> lock(mutex_);
  file->unsynced.push_back({true, size_bytes, ""});
  file->size_bytes = size_bytes;
}

void SimulatedDisk::Synced(const NodePtr& file) {
  const std::lock_guard<std::mutex> lock(mutex_);
  for (const DataChange& change : file->unsynced) Apply(change, file->durable);
  file->unsynced.clear();
}

void SimulatedDisk::SyncFailed(const NodePtr& file) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!fault_.power_cut) file->unsynced.clear();
}

void SimulatedDisk::MadeDirectories(const std::string& path) {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::vector<std::string> missing;
  for (std::string above = path; Contains(above) && Find(above) == nullptr; above = DirectoryName(above)) {
    missing.push_back(above);
  }
  for (auto folder = missing.rbegin(); folder != missing.rend(); ++folder) {
    auto node = std::make_shared<Node>();
    node->directory = true;
    Change({*folder, std::move(node), ""});
  }
}

void SimulatedDisk::Renamed(const std::string& from, const std::string& to) {
  const std::lock_guard<std::mutex> lock(mutex_);
  Change({to, Find(from), from});
}

void SimulatedDisk::Removed(const std::string& path) {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::vector<std::string> gone;
  for (const auto& [name, node] : visible_) {
    if (name == path || absl::StartsWith(name, absl::StrCat(path, "/"))) gone.push_back(name);
  }
  for (auto name = gone.rbegin(); name != gone.rend(); ++name) Change({*name, nullptr, ""});
}

void SimulatedDisk::MakeDurable(const NameChange& change) {
  if (!change.from.empty()) durable_.erase(change.from);
  if (change.node == nullptr) {
    durable_.erase(change.path);
  } else {
    durable_[change.path] = change.node;
  }
}

void SimulatedDisk::SyncedDirectory(const std::string& path) {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::vector<NameChange> rest;
  for (NameChange& change : unsynced_names_) {
    if (DirectoryName(change.path) != path) {
      rest.push_back(std::move(change));
      continue;
    }
    MakeDurable(change);
    // The old name went with it: that it was once made must not bring it back.
    const auto made_old_name = [&](const NameChange& older) {
      return older.node == change.node && older.path == change.from;
    };
    rest.erase(std::remove_if(rest.begin(), rest.end(), made_old_name), rest.end());
  }
  unsynced_names_ = std::move(rest);
}

void SimulatedDisk::LoseNames(std::mt19937_64& random, double kept) {
  for (const NameChange& change : unsynced_names_) {
    if (Happens(random, kept)) MakeDurable(change);
  }
  unsynced_names_.clear();
}

void SimulatedDisk::DropUnreachable() {
  for (auto entry = durable_.begin(); entry != durable_.end();) {
    // In order of paths a folder comes before what is in it.
    const std::string folder = DirectoryName(entry->first);
    const bool reachable = folder == root_ || durable_.count(folder) == 1;
    entry = reachable ? std::next(entry) : durable_.erase(entry);
  }
}

void SimulatedDisk::WriteRealFiles() {
  for (const auto& entry : std::filesystem::directory_iterator(root_)) std::filesystem::remove_all(entry.path());
  for (const auto& [path, node] : durable_) {
    if (node->directory) {
      std::filesystem::create_directory(path);
    } else {
      std::ofstream(path, std::ios::binary) << node->durable;
    }
  }
}

void SimulatedDisk::LosePower(uint64_t seed) {
  Heal();
  const std::lock_guard<std::mutex> lock(mutex_);
  std::mt19937_64 random(seed);
  constexpr double kKept[] = {0, 0.2, 0.5, 0.8, 1};
  const double kept_names = kKept[random() % std::size(kKept)];
  const double kept_pages = kKept[random() % std::size(kKept)];
  const bool torn = random() % 2 == 0;
  LoseNames(random, kept_names);
  DropUnreachable();
  for (const auto& [path, node] : durable_) node->Lose(random, kept_pages, torn);
  visible_ = durable_;
  WriteRealFiles();
}

}  // namespace quantd
