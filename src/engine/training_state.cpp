#include "engine/training_state.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <map>
#include <optional>

#include "engine/huggingface_files.hpp"
#include "engine/run_identity.hpp"
#include "layout/layout_text.hpp"

namespace kumihimo {
namespace {

namespace fs = std::filesystem;

constexpr const char* weights_name = "model.safetensors";
constexpr const char* optimizer_name = "optimizer.safetensors";
constexpr const char* fp8_name = "fp8.safetensors";
constexpr const char* config_name = "config.json";
/// [layers, products of a layer, operands, steps], newest first, -1 where there is none.
constexpr const char* amax_history = "amax_history";

constexpr std::array optimizer_states{StateKind::master, StateKind::m, StateKind::v};

/// Elements that are moved through memory at once.
constexpr std::int64_t most_elements = std::int64_t{1} << 20;

std::string stored_name(const std::string& weight, StateKind kind) {
  switch (kind) {
    case StateKind::weight: return weight;
    case StateKind::master: return weight + ".master";
    case StateKind::m: return weight + ".m";
    case StateKind::v: return weight + ".v";
  }
  return weight;
}

std::vector<std::int64_t> history_shape(const TrainingOptions& options, std::int64_t steps) {
  return {options.job.model.layers, linear_roles, fp8_operands, steps};
}

// --- Saving

/// A safetensors file of which all ranks know the whole layout.
struct PlannedFile {
  std::string name;
  PlannedSafetensors contents;
};

/// The same on every rank, whatever part of the model it holds.
std::vector<PlannedFile> planned_files(const TrainingOptions& options, const ModelStates& states) {
  const std::vector<StoredTensor> weights = model_tensors(options);
  std::vector<StoredTensor> optimizer;
  for (const StoredTensor& weight : weights) {
    for (const StateKind kind : optimizer_states) {
      if (!states.has(kind)) continue;
      optimizer.push_back(
          {.name = stored_name(weight.name, kind), .dtype = "F32", .shape = weight.shape});
    }
  }
  std::vector<PlannedFile> files;
  // Hugging Face's library asks for the mark.
  files.push_back({weights_name, plan_safetensors(weights, {{"format", "pt"}})});
  files.push_back({optimizer_name, plan_safetensors(std::move(optimizer), {})});
  if (options.layout.precision == Precision::fp8) {
    const StoredTensor history{.name = amax_history,
                               .dtype = "F32",
                               .shape = history_shape(options, options.fp8.amax_history)};
    files.push_back({fp8_name, plan_safetensors({history}, {})});
  }
  return files;
}

/// Returns the names of all files.
std::vector<std::string> create_files(const fs::path& partial, const TrainingOptions& options,
                                      const std::vector<PlannedFile>& files) {
  std::vector<std::string> names;
  for (const PlannedFile& file : files) {
    SliceFile::create(partial / file.name, file.contents.preamble, file.contents.header.file_bytes);
    names.push_back(file.name);
  }
  const std::optional<std::string> config =
      huggingface_config(options.job.model, storage_dtype(options.layout.precision));
  if (config) {
    SliceFile::create(partial / config_name, *config, std::ssize(*config));
    names.push_back(config_name);
  }
  return names;
}

/// One rank's handles on the files of a state that is being written.
class StateWriter {
 public:
  StateWriter(const fs::path& partial, std::vector<PlannedFile> files) {
    for (PlannedFile& file : files) {
      for (StoredTensor& tensor : file.contents.header.tensors) {
        places_[tensor.name] = {files_.size(), tensor};
      }
      files_.emplace_back(partial / file.name, SliceFile::Mode::write);
    }
  }

  void write_states(ModelStates& states) {
    for (int unit = 0; unit < std::ssize(states.units()); ++unit) {
      for (const OwnedPiece& piece : states.pieces_to_save(unit)) {
        for (const OwnedPiece& part : in_parts(piece, most_elements)) write(states, unit, part);
      }
    }
  }

  /// The histories of the layers from `layer` on, as LinearProducts keeps them.
  void write_history(std::int64_t layer, const float* values, std::int64_t count) {
    const Place& place = places_.at(amax_history);
    const std::int64_t layer_bytes = place.tensor.bytes / place.tensor.shape.front();
    files_[place.file].write(place.tensor.offset + layer * layer_bytes, values,
                             count * bytes_of(DType::fp32));
  }

  void sync() {
    for (SliceFile& file : files_) file.sync();
  }

 private:
  using Place = TensorFiles::Place;

  void write(ModelStates& states, int unit, const OwnedPiece& part) {
    values_.resize(static_cast<std::size_t>(part.count));
    for (const StateKind kind :
         {StateKind::weight, StateKind::master, StateKind::m, StateKind::v}) {
      if (!states.has(kind)) continue;
      const Place& place = places_.at(stored_name(part.parameter->stored.name, kind));
      states.read_state(unit, part, kind, values_.data());
      write_piece(files_[place.file], place.tensor, part, values_.data());
    }
  }

  std::vector<SliceFile> files_;
  std::map<std::string, Place> places_;
  std::vector<float> values_;
};

/// Every rank of a stage knows the same histories: the first one writes them.
void write_histories(StateWriter& writer, Trainer& trainer) {
  const RankCoordinates& place = trainer.groups().place;
  if (!trainer.products().uses_fp8() || place.tensor != 0 || place.data != 0) return;
  const std::vector<float> histories = trainer.products().histories();
  const std::vector<int> layers = trainer.layers_of_this_rank();
  const std::int64_t count = std::ssize(histories) / std::max<std::int64_t>(1, std::ssize(layers));
  for (std::int64_t i = 0; i < std::ssize(layers); ++i) {
    writer.write_history(layers[static_cast<std::size_t>(i)], histories.data() + i * count, count);
  }
}

// --- Resuming

/// A state, given itself or by the folder that it is the newest of.
Expected<fs::path> find_state(const fs::path& given) {
  std::error_code error;
  if (!fs::is_directory(given, error)) {
    return Error{given.string(), "is not a folder of saved states",
                 "give the folder that --save has named, or one of the states in it"};
  }
  if (fs::exists(given / "manifest.json", error)) return given;
  const std::optional<fs::path> newest = newest_state(given);
  if (newest) return *newest;
  return Error{given.string(), "holds no whole saved state",
               "give the folder that --save has named, or start anew without --resume"};
}

/// What a state must hold for these options, beyond being whole.
Errors tensor_faults(const TensorFiles& tensors, const TrainingOptions& options,
                     const std::string& state) {
  Errors faults;
  const auto expect = [&](const std::string& name, const std::vector<std::int64_t>& shape) {
    const TensorFiles::Place* place = tensors.find(name);
    const std::string where = fmt::format("{}: tensor {}", state, name);
    if (place == nullptr) {
      faults.push_back({where, "is missing", "resume from another state"});
    } else if (place->tensor.shape != shape || !is_readable_dtype(place->tensor.dtype)) {
      faults.push_back(
          {where,
           fmt::format("is {} of shape [{}], where the model has [{}]", place->tensor.dtype,
                       fmt::join(place->tensor.shape, ", "), fmt::join(shape, ", ")),
           "resume from another state"});
    }
  };
  for (const StoredTensor& weight : model_tensors(options)) {
    expect(weight.name, weight.shape);
    expect(stored_name(weight.name, StateKind::m), weight.shape);
    if (options.optimizer.kind == OptimizerKind::adamw) {
      expect(stored_name(weight.name, StateKind::v), weight.shape);
    }
    const std::string master = stored_name(weight.name, StateKind::master);
    if (tensors.find(master) != nullptr) expect(master, weight.shape);
  }
  if (const TensorFiles::Place* history = tensors.find(amax_history)) {
    const std::vector<std::int64_t>& found = history->tensor.shape;
    const std::int64_t steps = found.empty() ? 0 : found.back();
    expect(amax_history, history_shape(options, std::max<std::int64_t>(1, steps)));
  }
  return faults;
}

Errors add_tensors(TensorFiles& tensors, const fs::path& state, const Manifest& manifest) {
  Errors faults;
  for (const SavedFile& file : manifest.files) {
    if (!file.name.ends_with(".safetensors")) continue;
    for (Error& fault : tensors.add(state / file.name)) faults.push_back(std::move(fault));
  }
  return faults;
}

/// One rank's handles on the files of a state.
class StateReader {
 public:
  explicit StateReader(const TensorFiles& tensors) : tensors_(tensors) {
    for (const fs::path& path : tensors.paths()) files_.emplace_back(path, SliceFile::Mode::read);
  }

  void read_states(ModelStates& states) {
    for (int unit = 0; unit < std::ssize(states.units()); ++unit) {
      for (const OwnedPiece& piece : states.owned_pieces(unit)) {
        for (const OwnedPiece& part : in_parts(piece, most_elements)) read(states, unit, part);
      }
    }
    states.spread_weights();
  }

  /// The histories of the given layers over `steps` steps, in the order of LinearProducts; empty
  /// where the run that wrote the state had none.
  std::vector<float> read_histories(const std::vector<int>& layers, std::int64_t steps) const {
    const Place* place = tensors_.find(amax_history);
    if (place == nullptr) return {};
    const std::int64_t stored_steps = place->tensor.shape.back();
    const std::int64_t kept = std::min(steps, stored_steps);
    std::vector<float> stored(static_cast<std::size_t>(linear_roles * fp8_operands * stored_steps));
    const std::int64_t layer_bytes = std::ssize(stored) * bytes_of(DType::fp32);
    std::vector<float> histories;
    for (const int layer : layers) {
      files_[place->file].read(place->tensor.offset + layer * layer_bytes, stored.data(),
                               layer_bytes);
      for (auto newest = stored.begin(); newest < stored.end(); newest += stored_steps) {
        histories.insert(histories.end(), newest, newest + kept);
        histories.insert(histories.end(), static_cast<std::size_t>(steps - kept), -1.0f);
      }
    }
    return histories;
  }

 private:
  using Place = TensorFiles::Place;

  void read(ModelStates& states, int unit, const OwnedPiece& part) {
    values_.resize(static_cast<std::size_t>(part.count));
    const std::string& name = part.parameter->stored.name;
    // The optimizer's fp32 weights say all that the model's say, and more: written as weights they
    // set both, or the weights of a run in fp32. Without them the model's own are exact.
    const Place* master = tensors_.find(stored_name(name, StateKind::master));
    const Place* weight = master != nullptr ? master : tensors_.find(name);
    read_into(states, unit, part, StateKind::weight, *weight);
    for (const StateKind kind : {StateKind::m, StateKind::v}) {
      if (states.has(kind)) {
        read_into(states, unit, part, kind, *tensors_.find(stored_name(name, kind)));
      }
    }
  }

  void read_into(ModelStates& states, int unit, const OwnedPiece& part, StateKind kind,
                 const Place& place) {
    read_piece(files_[place.file], place.tensor, part, values_.data());
    states.write_state(unit, part, kind, values_.data());
  }

  const TensorFiles& tensors_;
  std::vector<SliceFile> files_;
  std::vector<float> values_;
};

}  // namespace

Expected<ResumableState> inspect_state(const fs::path& given, const TrainingOptions& options,
                                       std::string_view data, bool verify_checksums) {
  const Expected<fs::path> path = find_state(given);
  if (!path) return path.errors();
  Expected<Manifest> manifest = open_state(*path, verify_checksums);
  if (!manifest) return manifest.errors();
  // A model of another shape would have a fault in every tensor: these say it better.
  Errors faults = identity_faults(manifest->run, path->string(), options, data);
  if (!faults.empty()) return faults;
  ResumableState state{*path, *std::move(manifest), {}};
  faults = add_tensors(state.tensors, *path, state.manifest);
  if (faults.empty()) faults = tensor_faults(state.tensors, options, path->string());
  if (!faults.empty()) return faults;
  return state;
}

void save_training_state(Trainer& trainer, const fs::path& folder, int keep,
                         std::string_view data) {
  ProcessGroup& all = *trainer.groups().all;
  const bool is_first = all.rank() == 0;
  const std::int64_t step = trainer.steps_done();
  std::vector<PlannedFile> files = planned_files(trainer.options(), trainer.states());
  std::vector<std::string> names;
  if (is_first) names = create_files(begin_state(folder, step), trainer.options(), files);
  all.barrier();

  StateWriter writer(partial_path(folder, step), std::move(files));
  writer.write_states(trainer.states());
  write_histories(writer, trainer);
  writer.sync();
  all.barrier();

  if (is_first) {
    Manifest manifest;
    manifest.samples_consumed = trainer.samples_consumed();
    manifest.layout = to_text(trainer.options().layout);
    manifest.run = run_identity(trainer.options(), data);
    commit_state(folder, step, std::move(manifest), names, keep);
  }
  all.barrier();
}

void resume_training(Trainer& trainer, const ResumableState& state) {
  StateReader reader(state.tensors);
  reader.read_states(trainer.states());
  if (trainer.products().uses_fp8()) {
    const std::vector<float> histories =
        reader.read_histories(trainer.layers_of_this_rank(), trainer.options().fp8.amax_history);
    if (!histories.empty()) trainer.products().set_histories(histories);
  }
  trainer.resume_at(state.manifest.step, state.manifest.samples_consumed);
}

}  // namespace kumihimo
