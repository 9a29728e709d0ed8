#include "saved_state/state_folder.hpp"

#include <algorithm>
#include <charconv>
#include <fmt/format.h>
#include <system_error>
#include <utility>

#include "base/check.hpp"
#include "base/files.hpp"
#include "base/units.hpp"
#include "saved_state/manifest.hpp"
#include "saved_state/safetensors.hpp"

namespace kumihimo {
namespace {

namespace fs = std::filesystem;

constexpr const char* manifest_name = "manifest.json";
constexpr std::size_t largest_manifest = 16 << 20;
constexpr std::string_view prefix = "step-";
constexpr const char* being_written = ".partial";
constexpr const char* being_removed = ".discarded";

std::string state_name(std::int64_t step) { return fmt::format("{}{:08}", prefix, step); }

/// The step whose state has this name, or nothing for a name that state_name does not give.
std::optional<std::int64_t> step_of(const std::string& name) {
  if (!name.starts_with(prefix)) return std::nullopt;
  std::int64_t step = 0;
  std::from_chars(name.data() + prefix.size(), name.data() + name.size(), step);
  if (step < 0 || state_name(step) != name) return std::nullopt;
  return step;
}

fs::path with_suffix(fs::path path, const char* suffix) { return path += suffix; }

struct WholeState {
  std::int64_t step;
  fs::path path;
};

/// By step. Throws std::system_error where the folder exists and cannot be listed.
std::vector<WholeState> whole_states(const fs::path& folder) {
  std::vector<WholeState> states;
  if (!fs::exists(folder)) return states;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    const std::optional<std::int64_t> step = step_of(entry.path().filename().string());
    if (step && fs::exists(entry.path() / manifest_name)) states.push_back({*step, entry.path()});
  }
  std::sort(states.begin(), states.end(),
            [](const WholeState& a, const WholeState& b) { return a.step < b.step; });
  return states;
}

/// What an interrupted save or removal has left behind.
void remove_leftovers(const fs::path& folder) {
  std::vector<fs::path> leftovers;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    const fs::path& path = entry.path();
    if ((path.extension() == being_written || path.extension() == being_removed) &&
        step_of(path.stem().string())) {
      leftovers.push_back(path);
    }
  }
  for (const fs::path& path : leftovers) fs::remove_all(path);
}

/// Takes the final name from a state in one step: half a state never has it. Returns the new one.
fs::path set_aside(const fs::path& state) {
  fs::path aside = with_suffix(state, being_removed);
  fs::remove_all(aside);
  fs::rename(state, aside);
  return aside;
}

void sync_file(const fs::path& path) { SliceFile(path, SliceFile::Mode::write).sync(); }

/// Makes names in a folder last. Not every file system can, and says so by EINVAL.
void sync_folder(const fs::path& folder) {
  try {
    SliceFile(folder, SliceFile::Mode::read).sync();
  } catch (const std::system_error& error) {
    if (error.code() != std::errc::invalid_argument) throw;
  }
}

/// Never the state of `step`, which was just written, nor later ones: a run that was resumed from
/// an early state must not lose what it saves to those of its former future.
void remove_oldest(const fs::path& folder, std::int64_t step, int keep) {
  const std::vector<WholeState> states = whole_states(folder);
  std::int64_t surplus = std::ssize(states) - keep;
  for (const WholeState& state : states) {
    if (surplus-- <= 0 || state.step >= step) return;
    fs::remove_all(set_aside(state.path));
  }
}

/// The remedy for a damaged state: the newest whole one before it, or any where its name tells no
/// step.
std::string other_state(const fs::path& state) {
  const std::optional<std::int64_t> step = step_of(state.filename().string());
  const char* const older = step ? "older " : "";
  const fs::path folder = state.has_parent_path() ? state.parent_path() : fs::path(".");
  std::vector<WholeState> states = whole_states(folder);
  while (step && !states.empty() && states.back().step >= *step) states.pop_back();
  if (states.empty()) {
    return fmt::format("restore it from a copy: {} has no {}state", folder.string(), older);
  }
  return fmt::format("resume from the {}state {}", older, states.back().path.string());
}

/// What is wrong with a file of a state, or nothing.
std::optional<std::string> damage_of(const fs::path& path, const SavedFile& saved,
                                     bool verify_checksum) {
  std::error_code error;
  const std::uintmax_t bytes = fs::file_size(path, error);
  if (error == std::errc::no_such_file_or_directory) return "is missing";
  if (error) return "cannot be read: " + error.message();
  if (bytes != static_cast<std::uintmax_t>(saved.bytes)) {
    return fmt::format("is {} bytes long instead of {}", grouped(static_cast<std::int64_t>(bytes)),
                       grouped(saved.bytes));
  }
  if (!verify_checksum) return std::nullopt;
  try {
    const std::uint64_t checksum = checksum_of(path);
    if (checksum == saved.checksum) return std::nullopt;
    return fmt::format("is damaged: its XXH3 checksum is {:016x} instead of {:016x}", checksum,
                       saved.checksum);
  } catch (const std::system_error& failure) {
    return "cannot be read: " + failure.code().message();
  }
}

}  // namespace

fs::path state_path(const fs::path& folder, std::int64_t step) {
  KUMIHIMO_CHECK(step >= 0);
  return folder / state_name(step);
}

fs::path partial_path(const fs::path& folder, std::int64_t step) {
  return with_suffix(state_path(folder, step), being_written);
}

fs::path begin_state(const fs::path& folder, std::int64_t step) {
  fs::create_directories(folder);
  remove_leftovers(folder);
  fs::path partial = partial_path(folder, step);
  fs::create_directory(partial);
  return partial;
}

void commit_state(const fs::path& folder, std::int64_t step, Manifest manifest,
                  const std::vector<std::string>& files, int keep) {
  KUMIHIMO_CHECK(keep >= 0);
  const fs::path whole = state_path(folder, step);
  const fs::path partial = partial_path(folder, step);
  manifest.step = step;
  manifest.files.clear();
  for (const std::string& name : files) {
    const fs::path path = partial / name;
    sync_file(path);
    manifest.files.push_back(
        {name, static_cast<std::int64_t>(fs::file_size(path)), checksum_of(path)});
  }
  const std::string text = write_manifest(manifest);
  SliceFile::create(partial / manifest_name, text, std::ssize(text));
  sync_file(partial / manifest_name);
  sync_folder(partial);

  // A run that was resumed from an earlier state writes some a second time.
  std::optional<fs::path> replaced;
  if (fs::exists(whole)) replaced = set_aside(whole);
  fs::rename(partial, whole);
  sync_folder(folder);
  if (replaced) fs::remove_all(*replaced);
  if (keep > 0) remove_oldest(folder, step, keep);
}

std::optional<fs::path> newest_state(const fs::path& folder) {
  const std::vector<WholeState> states = whole_states(folder);
  if (states.empty()) return std::nullopt;
  return states.back().path;
}

Expected<Manifest> open_state(const fs::path& given, bool verify_checksums) {
  const fs::path state = given.has_filename() ? given : given.parent_path();  // "step-1/"
  const fs::path manifest_path = state / manifest_name;
  std::error_code ignored;
  if (!fs::exists(manifest_path, ignored)) {
    const auto inside = fs::is_directory(state, ignored) ? newest_state(state) : std::nullopt;
    const bool exists = fs::exists(state, ignored);
    return Error{state.string(),
                 exists ? "is not a whole saved state: it has no manifest.json" : "does not exist",
                 inside ? "give the newest state in it: " + inside->string() : other_state(state)};
  }
  const Expected<std::string> text = read_file(manifest_path, largest_manifest);
  if (!text) return text.errors();
  Expected<Manifest> manifest = parse_manifest(*text, manifest_path.string());
  Errors faults;
  if (!manifest) {
    faults = manifest.errors();
    for (Error& fault : faults) {
      if (fault.fix.empty()) fault.fix = other_state(state);
    }
    return faults;
  }
  for (const SavedFile& file : manifest->files) {
    const fs::path path = state / file.name;
    if (std::optional<std::string> damage = damage_of(path, file, verify_checksums)) {
      faults.push_back({path.string(), *std::move(damage), other_state(state)});
    }
  }
  if (!faults.empty()) return faults;
  return manifest;
}

}  // namespace kumihimo
