#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "engine/unit_shard.hpp"
#include "saved_state/safetensors.hpp"

namespace kumihimo {

/// The tensors of one or several safetensors files, by name: a value, read once and shared by all
/// ranks.
class TensorFiles {
 public:
  struct Place {
    std::size_t file = 0;  ///< of paths()
    StoredTensor tensor;
  };

  /// Adds the tensors of one more file. Faults: of its header, and names that are there already.
  Errors add(const std::filesystem::path& path);
  /// Calls the tensor `from` by the name `to`, which must be free.
  void rename(const std::string& from, const std::string& to);
  void erase(const std::string& name) { tensors_.erase(name); }

  const std::vector<std::filesystem::path>& paths() const { return paths_; }
  const std::map<std::string, Place>& tensors() const { return tensors_; }
  /// nullptr where there is none of that name.
  const Place* find(const std::string& name) const;

 private:
  std::vector<std::filesystem::path> paths_;
  std::map<std::string, Place> tensors_;
};

/// "F32", "BF16" and "F16" are what weights and states may be stored as.
bool is_readable_dtype(std::string_view dtype);

/// Elements of a piece that follow one another in the file. `first` counts elements of the piece,
/// `step` elements of it apart; `in_file` counts elements of the stored tensor.
struct StoredRun {
  std::int64_t first = 0;
  std::int64_t step = 1;
  std::int64_t in_file = 0;
  std::int64_t count = 0;
};

/// Where a piece stands in its stored tensor; without what pads the vocabulary.
std::vector<StoredRun> stored_runs(const OwnedPiece& piece);

/// The piece in parts of at most `most` elements: what is moved through memory at once.
std::vector<OwnedPiece> in_parts(const OwnedPiece& piece, std::int64_t most);

/// Rounds fp32 values of a piece to the tensor's dtype (F32 or BF16) and writes them.
void write_piece(SliceFile& file, const StoredTensor& tensor, const OwnedPiece& piece,
                 const float* values);

/// Reads a piece from a tensor of a readable dtype; what pads the vocabulary becomes zero.
void read_piece(const SliceFile& file, const StoredTensor& tensor, const OwnedPiece& piece,
                float* values);

}  // namespace kumihimo
