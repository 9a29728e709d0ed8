#include "store/schema.hpp"

#include <filesystem>
#include <fstream>
#include <gmock/gmock.h>
#include <sqlite3.h>

#include "store/store.hpp"
#include "support/scratch_folder.hpp"

namespace kumihimo {
namespace {

using ::testing::HasSubstr;
using testing::ScratchFolder;

std::string refusal(const std::string& path, Database::Mode mode = Database::Mode::read_write) {
  const auto opened = open_store_database(path, mode);
  return opened ? "" : to_string(opened.errors());
}

void make_store(const std::string& path) { (void)*Store::open(path, Database::Mode::read_write); }

/// As a program of that version left it.
void make_old_store(const std::string& path, std::int64_t of_version) {
  Database old(path, Database::Mode::read_write);
  for (std::int64_t version = 0; version < of_version; ++version) {
    old.execute(std::string(store_migrations()[static_cast<std::size_t>(version)]));
  }
  if (of_version > 0) {
    old.execute("PRAGMA application_id = " + std::to_string(store_application_id));
  }
  old.execute("PRAGMA user_version = " + std::to_string(of_version));
}

TEST(StoreSchema, AnOldStoreIsReadAsItIs) {
  const ScratchFolder folder;
  const std::string path = folder.file("s.db");
  make_old_store(path, 1);
  auto store = Store::open(path, Database::Mode::read);
  ASSERT_TRUE(store) << to_string(store.errors());
  EXPECT_TRUE(store->studies().empty());
  EXPECT_TRUE(store->trials().empty());
  EXPECT_TRUE(store->machines().empty());
  EXPECT_EQ(Database(path, Database::Mode::read).whole("PRAGMA user_version"), 1);
}

TEST(StoreSchema, AnOldStoreIsBroughtUpToDateByTheSameSteps) {
  const ScratchFolder folder;
  for (std::int64_t from = 0; from < store_version(); ++from) {
    const std::string path = folder.file("from" + std::to_string(from));
    make_old_store(path, from);
    auto opened = open_store_database(path, Database::Mode::read_write);
    ASSERT_TRUE(opened) << to_string(opened.errors());
    EXPECT_EQ(opened->whole("PRAGMA user_version"), store_version());
    EXPECT_EQ(opened->whole("PRAGMA foreign_key_check"), 0);
    EXPECT_EQ(opened->whole("SELECT count(*) FROM trials"), 0);
  }
}

TEST(StoreSchema, ANewerStoreIsRefusedAndLeftAlone) {
  const ScratchFolder folder;
  const std::string path = folder.file("s.db");
  make_store(path);
  Database(path, Database::Mode::read_write).execute("PRAGMA user_version = 99");
  EXPECT_THAT(refusal(path), HasSubstr("schema version 99, newer than this program's"));
  EXPECT_EQ(Database(path, Database::Mode::read).whole("PRAGMA user_version"), 99);
}

TEST(StoreSchema, AnotherProgramsDatabaseIsRefusedAndLeftAlone) {
  const ScratchFolder folder;
  const std::string path = folder.file("other.db");
  Database(path, Database::Mode::read_write).execute("CREATE TABLE theirs (x)");
  EXPECT_THAT(refusal(path), HasSubstr("another program's database"));
  EXPECT_EQ(Database(path, Database::Mode::read).whole("SELECT count(*) FROM sqlite_schema"), 1);
}

TEST(StoreSchema, AFileThatIsNoDatabaseIsRefusedAndLeftAlone) {
  const ScratchFolder folder;
  const std::string text(4096, 'x');
  std::ofstream(folder.file("notes.txt")) << text;
  EXPECT_THAT(refusal(folder.file("notes.txt")), HasSubstr("is not an SQLite database"));
  EXPECT_EQ(folder.text_of("notes.txt"), text);
}

TEST(StoreSchema, ATruncatedStoreIsAnErrorNotACrash) {
  const ScratchFolder folder;
  const std::string path = folder.file("s.db");
  make_store(path);
  const auto whole = std::filesystem::file_size(path);
  for (const std::uintmax_t size : {whole / 2, std::uintmax_t{4096}, std::uintmax_t{100}}) {
    std::filesystem::resize_file(path, size);
    std::string said = refusal(path);
    if (said.empty()) {  // the first page tells nothing: the next one does
      try {
        Store store = *Store::open(path, Database::Mode::read_write);
        store.studies();
        store.trials();
      } catch (const StoreFailure& failure) {
        said = failure.what();
      }
    }
    EXPECT_THAT(said, HasSubstr(path)) << size;
  }
}

TEST(StoreSchema, AReaderNeedsAStore) {
  const ScratchFolder folder;
  EXPECT_THAT(refusal(folder.file("absent.db"), Database::Mode::read), HasSubstr("does not exist"));
  EXPECT_FALSE(std::filesystem::exists(folder.file("absent.db")));
  EXPECT_THAT(refusal(std::filesystem::path(folder.file("x")).parent_path().string()),
              HasSubstr("is not a file"));
}

TEST(StoreSchema, ALockedStoreSaysWhatHoldsItUp) {
  const ScratchFolder folder;
  const std::string path = folder.file("s.db");
  make_store(path);
  Database holder(path, Database::Mode::read_write);
  const Transaction held(holder);
  Database other(path, Database::Mode::read_write);
  other.set_busy_timeout(1);
  try {
    const Transaction second(other);
    FAIL() << "two writers";
  } catch (const StoreFailure& failure) {
    EXPECT_EQ(failure.code(), SQLITE_BUSY);
    EXPECT_THAT(failure.what(), HasSubstr("another program holds it"));
  }
}

TEST(StoreSchema, AFolderThatIsMissingIsNamed) {
  const ScratchFolder folder;
  try {
    (void)open_store_database(folder.file("no/such/s.db"), Database::Mode::read_write);
    FAIL() << "made a file in a folder that is not there";
  } catch (const StoreFailure& failure) {
    EXPECT_THAT(failure.what(), HasSubstr("see whether the folder exists"));
  }
}

}  // namespace
}  // namespace kumihimo
