#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"

namespace kumihimo {

/// The safetensors format: eight bytes of header length, a JSON header, the tensors' bytes.
/// https://huggingface.co/docs/safetensors/index

struct StoredTensor {
  std::string name;
  std::string dtype;  ///< "F32", "BF16", "F64", "I64", ...
  std::vector<std::int64_t> shape;
  std::int64_t offset = 0;  ///< of its first byte, from the start of the file
  std::int64_t bytes = 0;
};

struct SafetensorsHeader {
  std::vector<StoredTensor> tensors;  ///< in the order of their bytes
  std::map<std::string, std::string> metadata;
  std::int64_t file_bytes = 0;
};

/// Lays tensors out in the given order (name, dtype and shape are read; offset and bytes are set)
/// and returns the header with the bytes that the file begins with. Data starts at a multiple
/// of 64.
struct PlannedSafetensors {
  SafetensorsHeader header;
  std::string preamble;
};
PlannedSafetensors plan_safetensors(std::vector<StoredTensor> tensors,
                                    std::map<std::string, std::string> metadata);

/// Reads and checks a header: lengths, JSON, dtypes, shapes, offsets within the file, no overlap,
/// no gap. Every fault names the file and the tensor. A header over 100 MB is refused.
Expected<SafetensorsHeader> read_safetensors_header(const std::filesystem::path& path);

/// The same from the bytes themselves: what the fuzzer feeds.
Expected<SafetensorsHeader> parse_safetensors_header(std::string_view bytes,
                                                     std::int64_t file_bytes,
                                                     std::string_view where);

/// A file into which several ranks write their own slices, each through a handle of its own.
/// Errors of the system (full disk) are thrown as std::system_error with path and call.
class SliceFile {
 public:
  /// Creates the file at its full length with `preamble` (by one rank, before the others open it),
  /// and reserves its space where the file system can: a full disk is found here.
  static void create(const std::filesystem::path& path, std::string_view preamble,
                     std::int64_t file_bytes);
  enum class Mode { read, write };
  SliceFile(const std::filesystem::path& path, Mode mode);
  ~SliceFile();
  SliceFile(SliceFile&& other) noexcept;
  SliceFile& operator=(SliceFile&& other) noexcept;
  SliceFile(const SliceFile&) = delete;
  SliceFile& operator=(const SliceFile&) = delete;

  void write(std::int64_t offset, const void* data, std::int64_t bytes);
  void read(std::int64_t offset, void* data, std::int64_t bytes) const;
  /// Throws what a failed write left behind; data is on the disk when it returns.
  void sync();

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
};

}  // namespace kumihimo
