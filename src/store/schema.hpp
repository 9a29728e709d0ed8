#pragma once

#include <filesystem>
#include <span>

#include "base/error.hpp"
#include "store/database.hpp"

namespace kumihimo {

/// "Kumi" in the file's header: what makes a database a store of this program.
inline constexpr std::int64_t store_application_id = 0x4b756d69;

/// One step of the schema: the SQL that leads from version i to i + 1.
std::span<const std::string_view> store_migrations();

/// The version that this program writes.
std::int64_t store_version();

/// Opens a store. Mode::read_write makes a file that is absent or empty, and brings an older
/// version up to date; Mode::read reads an older one as it is. Another program's database, a newer
/// version and a file that is no database are errors with a remedy; nothing in them is changed.
/// Throws StoreFailure where the disk or another process's lock is in the way.
Expected<Database> open_store_database(const std::filesystem::path& path, Database::Mode mode);

}  // namespace kumihimo
