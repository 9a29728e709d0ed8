#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace kumihimo {

/// Reads a whole text file. Refuses, naming the path, a missing file, a directory, anything that is
/// not a regular file, and one larger than `max_bytes`.
Expected<std::string> read_file(const std::filesystem::path& path, std::size_t max_bytes);

/// Writes `text` beside `path`, syncs it and renames it into place, so that a reader never sees
/// half a file and a full disk leaves the old one. Returns the path.
Expected<std::filesystem::path> write_file_atomically(const std::filesystem::path& path,
                                                      std::string_view text);

/// Why that would fail now, whatever the text: nothing if it would not. For those who work long
/// before they write.
std::optional<Error> output_fault(const std::filesystem::path& path);

/// Why files cannot be written into `folder`, which need not exist: it would be made.
std::optional<Error> output_folder_fault(const std::filesystem::path& folder);

}  // namespace kumihimo
