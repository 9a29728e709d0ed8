#include "engine/weight_files.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>
#include <set>

#include "base/files.hpp"
#include "base/json_document.hpp"
#include "engine/huggingface_files.hpp"
#include "saved_state/state_folder.hpp"

namespace kumihimo {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr const char* weights_name = "model.safetensors";
constexpr const char* index_name = "model.safetensors.index.json";
constexpr std::size_t largest_index = 64 << 20;
constexpr std::int64_t elements_at_once = std::int64_t{1} << 20;
/// Another model's files have a fault in every tensor; the first ones tell as much as all.
constexpr std::size_t most_faults = 10;

/// The files that an index names: {"weight_map": {TENSOR: FILE, ...}}.
Expected<std::vector<fs::path>> indexed_files(const fs::path& index) {
  const Expected<std::string> text = read_file(index, largest_index);
  if (!text) return text.errors();
  const char* const remedy = "copy or download the file again";
  const Error damaged{index.string(), "is no index of safetensors files: it lacks a weight_map",
                      remedy};
  const Expected<Json> root = parse_json(*text, index.string(), remedy);
  if (!root) return root.errors();
  if (!root->is_object() || !root->contains("weight_map")) return damaged;
  const Json& map = root->at("weight_map");
  if (!map.is_object() || map.empty()) return damaged;
  std::set<fs::path> files;
  for (const auto& [tensor, file] : map.items()) {
    if (!file.is_string()) return damaged;
    const fs::path name(file.get<std::string>());
    if (name.empty() || name != name.filename()) {
      return Error{index.string(),
                   fmt::format("names {}, which is not in its own folder", name.string()),
                   "keep all files in one folder"};
    }
    files.insert(index.parent_path() / name);
  }
  return std::vector<fs::path>(files.begin(), files.end());
}

Expected<std::vector<fs::path>> find_files(const fs::path& folder) {
  std::error_code error;
  if (fs::exists(folder / weights_name, error)) return std::vector{folder / weights_name};
  if (fs::exists(folder / index_name, error)) return indexed_files(folder / index_name);
  const auto state = fs::is_directory(folder, error) ? newest_state(folder) : std::nullopt;
  return Error{folder.string(), fmt::format("holds neither {} nor {}", weights_name, index_name),
               state ? fmt::format("give the newest state in it: {}", state->string())
                     : "give a folder with weights as Hugging Face's transformers saves them"};
}

/// Buffers that old files hold beside the weights.
bool is_constant(const std::string& name) {
  return name.ends_with(".rotary_emb.inv_freq") || name.ends_with(".attn.bias") ||
         name.ends_with(".attn.masked_bias");
}

/// Gives tensors the names of the model's, and drops what is not a weight.
void normalise(TensorFiles& files, const TransformerShape& model,
               const std::set<std::string>& expected) {
  const std::string gpt2_prefix = "transformer.";
  std::vector<std::string> names;
  for (const auto& [name, place] : files.tensors()) names.push_back(name);
  for (const std::string& name : names) {
    const bool tied_head = model.tied_embeddings && name == "lm_head.weight";
    if (is_constant(name) || tied_head) {
      files.erase(name);
    } else if (!expected.contains(name) && expected.contains(gpt2_prefix + name) &&
               files.find(gpt2_prefix + name) == nullptr) {
      files.rename(name, gpt2_prefix + name);
    }
  }
}

/// At most most_faults, and the number of the others.
Errors shortened(Errors faults, const fs::path& folder) {
  if (faults.size() <= most_faults) return faults;
  const std::size_t others = faults.size() - most_faults;
  faults.resize(most_faults);
  faults.push_back({folder.string(), fmt::format("has {} more such tensors", others),
                    "give the --model that these weights belong to"});
  return faults;
}

Errors tensor_faults(const TensorFiles& files, const std::vector<StoredTensor>& expected,
                     const fs::path& folder) {
  Errors faults;
  const auto fault = [&](const fs::path& where, const std::string& name, std::string what,
                         std::string fix = "give the --model that these weights belong to") {
    faults.push_back(
        {fmt::format("{}: tensor {}", where.string(), name), std::move(what), std::move(fix)});
  };
  std::set<std::string> known;
  for (const StoredTensor& weight : expected) {
    known.insert(weight.name);
    const TensorFiles::Place* place = files.find(weight.name);
    if (place == nullptr) {
      fault(folder, weight.name,
            fmt::format("is missing; the model has it with shape [{}]",
                        fmt::join(weight.shape, ", ")),
            weight.name == "lm_head.weight"
                ? "give a model whose embeddings are tied, or weights with a head"
                : "give the --model that these weights belong to");
      continue;
    }
    const StoredTensor& found = place->tensor;
    const fs::path& path = files.paths()[place->file];
    if (found.shape != weight.shape) {
      fault(path, weight.name,
            fmt::format("has shape [{}]; the model's is [{}]", fmt::join(found.shape, ", "),
                        fmt::join(weight.shape, ", ")));
    } else if (!is_readable_dtype(found.dtype)) {
      fault(path, weight.name, fmt::format("is of dtype {}", found.dtype),
            "store weights as F32, BF16 or F16");
    }
  }
  for (const auto& [name, place] : files.tensors()) {
    if (known.contains(name)) continue;
    fault(files.paths()[place.file], name,
          fmt::format("of shape [{}] is no weight of the model",
                      fmt::join(place.tensor.shape, ", ")));
  }
  return faults;
}

}  // namespace

Expected<TensorFiles> inspect_weights(const fs::path& folder, const TrainingOptions& options) {
  const Expected<std::vector<fs::path>> paths = find_files(folder);
  if (!paths) return paths.errors();
  TensorFiles files;
  Errors faults;
  for (const fs::path& path : *paths) {
    for (Error& fault : files.add(path)) faults.push_back(std::move(fault));
  }
  if (!faults.empty()) return shortened(std::move(faults), folder);

  const std::vector<StoredTensor> expected = model_tensors(options);
  std::set<std::string> names;
  for (const StoredTensor& weight : expected) names.insert(weight.name);
  normalise(files, options.job.model, names);
  faults = tensor_faults(files, expected, folder);
  if (!faults.empty()) return shortened(std::move(faults), folder);
  return files;
}

void load_weights(Trainer& trainer, const TensorFiles& files) {
  std::vector<SliceFile> handles;
  for (const fs::path& path : files.paths()) handles.emplace_back(path, SliceFile::Mode::read);
  ModelStates& states = trainer.states();
  std::vector<float> values;
  for (int unit = 0; unit < std::ssize(states.units()); ++unit) {
    for (const OwnedPiece& piece : states.owned_pieces(unit)) {
      for (const OwnedPiece& part : in_parts(piece, elements_at_once)) {
        const TensorFiles::Place* place = files.find(part.parameter->stored.name);
        KUMIHIMO_CHECK(place != nullptr);
        values.resize(static_cast<std::size_t>(part.count));
        read_piece(handles[place->file], place->tensor, part, values.data());
        states.write_state(unit, part, StateKind::weight, values.data());
      }
    }
  }
  states.spread_weights();
}

}  // namespace kumihimo
