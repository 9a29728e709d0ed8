#include "comm/tcp/tcp_place.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <map>

namespace kumihimo {
namespace {

using testing::ElementsAre;
using testing::Field;

Environment environment_of(std::map<std::string, std::string> variables) {
  return [variables](const char* name) -> std::optional<std::string> {
    const auto found = variables.find(name);
    return found == variables.end() ? std::nullopt : std::optional(found->second);
  };
}

TEST(TcpPlace, IsWhatTorchrunSets) {
  const auto environment = environment_of({{"RANK", "5"},
                                           {"WORLD_SIZE", "8"},
                                           {"LOCAL_RANK", "1"},
                                           {"MASTER_ADDR", "node0"},
                                           {"MASTER_PORT", "12345"}});
  EXPECT_TRUE(names_a_tcp_job(environment));
  const auto place = read_tcp_place(environment);
  ASSERT_TRUE(place);
  EXPECT_EQ(place->rank, 5);
  EXPECT_EQ(place->size, 8);
  EXPECT_EQ(place->local_rank, 1);
  EXPECT_EQ(place->host, "node0");
  EXPECT_EQ(place->port, 12345);
}

TEST(TcpPlace, ComesFromSlurmWhereNobodySetsIt) {
  const auto environment = environment_of({{"SLURM_PROCID", "3"},
                                           {"SLURM_NTASKS", "16"},
                                           {"SLURM_LOCALID", "3"},
                                           {"SLURM_JOB_ID", "1234567"},
                                           {"SLURM_JOB_NODELIST", "login"},
                                           {"SLURM_STEP_NODELIST", "gpu[07-08]"}});
  EXPECT_FALSE(names_a_tcp_job(environment));
  const auto place = read_tcp_place(environment);
  ASSERT_TRUE(place);
  EXPECT_EQ(place->rank, 3);
  EXPECT_EQ(place->size, 16);
  EXPECT_EQ(place->host, "gpu07");
  EXPECT_EQ(place->port, 20000 + 1234567 % 9000);
}

TEST(TcpPlace, TellsAllThatIsWrong) {
  const auto nothing = read_tcp_place(environment_of({}));
  ASSERT_FALSE(nothing);
  EXPECT_THAT(nothing.errors(),
              ElementsAre(Field(&Error::where, "WORLD_SIZE"), Field(&Error::where, "RANK"),
                          Field(&Error::where, "MASTER_ADDR")));
  const auto nonsense = read_tcp_place(environment_of(
      {{"RANK", "-1"}, {"WORLD_SIZE", "8x"}, {"MASTER_ADDR", "h"}, {"MASTER_PORT", "70000"}}));
  ASSERT_FALSE(nonsense);
  EXPECT_THAT(nonsense.errors(),
              ElementsAre(Field(&Error::what, "is \"8x\""), Field(&Error::what, "is \"-1\""),
                          Field(&Error::what, "is \"70000\"")));
  const auto beyond =
      read_tcp_place(environment_of({{"RANK", "8"}, {"WORLD_SIZE", "8"}, {"MASTER_ADDR", "h"}}));
  ASSERT_FALSE(beyond);
  EXPECT_EQ(beyond.errors().front().what, "is 8 of a world of 8");
}

TEST(TcpPlace, TheFirstMachineOfAList) {
  EXPECT_EQ(first_of_node_list("node"), "node");
  EXPECT_EQ(first_of_node_list("a,b"), "a");
  EXPECT_EQ(first_of_node_list("a,b[1-2]"), "a");
  EXPECT_EQ(first_of_node_list("gpu[07-10,12],login1"), "gpu07");
  EXPECT_EQ(first_of_node_list("gpu[7]"), "gpu7");
  EXPECT_EQ(first_of_node_list("r[1,3]-ib,x"), "r1-ib");
  EXPECT_EQ(first_of_node_list("broken[7"), "");
  EXPECT_EQ(first_of_node_list(""), "");
}

}  // namespace
}  // namespace kumihimo
