#include "runs/run_rows.hpp"

#include <gmock/gmock.h>

namespace kumihimo {
namespace {

constexpr std::string_view header =
    "table_or_row_id,model_name,hidden,layers,heads,seq_len,global_batch,gpus,gpu_type,tp,pp,"
    "micro_batch,step_time_s,status,notes\n";

TEST(RunRows, AreReadBackAsTheyWereWritten) {
  const auto rows = parse_run_rows(
      std::string(header) + "a,m,1,1,1,1,1,1,g,1,1,1,2.5,ok,\"say \"\"x, y\"\"\n\"\n", "r.csv");
  ASSERT_TRUE(rows) << to_string(rows.errors());
  EXPECT_EQ((*rows)[0][RunColumn::notes], "say \"x, y\"\n");
  EXPECT_EQ((*rows)[0][RunColumn::dp], "") << "a column that the file lacks";
  const auto again = parse_run_rows(run_rows_csv(*rows), "again.csv");
  ASSERT_TRUE(again) << to_string(again.errors());
  EXPECT_EQ(*again, *rows);
}

TEST(RunRows, RefuseWhatRunsRefuse) {
  const auto rows =
      parse_run_rows(std::string(header) + "a,m,1,1,1,1,1,1,g,1,1,1,fast,ok,\n", "r.csv");
  ASSERT_FALSE(rows);
  EXPECT_THAT(to_string(rows.errors()), ::testing::HasSubstr("r.csv:2"));
}

}  // namespace
}  // namespace kumihimo
