#include "cost/stack_choice.hpp"

#include <gtest/gtest.h>

#include "base/catalog.hpp"
#include "cluster/cluster_file.hpp"
#include "cost/stack_profile_file.hpp"

namespace kumihimo {
namespace {

TEST(DefaultStack, IsOfTheNearestGeneration) {
  for (const char* name : {"a100-80gb-sxm", "mi250x"}) {
    EXPECT_EQ(default_stack(*read_cluster(name)), "megatron-2023-a100") << name;
  }
  EXPECT_EQ(default_stack(*read_cluster("v100-32gb-sxm")), "megatron-2021-a100");
  for (const char* name : {"h100-80gb-sxm", "h200-sxm", "gh200", "b200-sxm", "mi300x"}) {
    const std::string stack = default_stack(*read_cluster(name));
    EXPECT_TRUE(stack.ends_with("-h100")) << name << ": " << stack;
  }
  for (const char* name : {"l40s", "rtx-4090", "rtx-pro-6000"}) {
    EXPECT_EQ(default_stack(*read_cluster(name)), "llmq-2026") << name;
  }
  EXPECT_EQ(default_stack(*read_cluster("cpu")), "kumihimo-cpu");
}

TEST(DefaultStack, GoesByTheDevicesNameWhereNoArchitectureIsStated) {
  const auto without_architecture = [](const char* name) {
    Cluster cluster = *read_cluster(name);
    cluster.device.architecture.clear();
    return cluster;
  };
  for (const std::string& name : catalog_names(CatalogKind::clusters)) {
    if (name == "cpu") continue;
    EXPECT_EQ(default_stack(without_architecture(name.c_str())), default_stack(*read_cluster(name)))
        << name;
  }
}

TEST(DefaultStack, IsInTheCatalog) {
  for (const std::string& name : catalog_names(CatalogKind::clusters)) {
    const Expected<StackProfile> profile = read_stack_profile(default_stack(*read_cluster(name)));
    EXPECT_TRUE(profile) << name << ": " << to_string(profile.errors());
  }
}

TEST(MeasuredElsewhere, NamesTheOtherDevice) {
  StackProfile profile;
  const Cluster a100 = *read_cluster("a100-80gb-sxm"), h100 = *read_cluster("h100-80gb-sxm");
  profile.evidence = {{.source = "runs.csv", .runs = 8}};
  EXPECT_FALSE(measured_elsewhere(profile, a100)) << "the file does not say where";
  profile.cluster = "a100-80gb-sxm";
  EXPECT_FALSE(measured_elsewhere(profile, a100));
  EXPECT_EQ(measured_elsewhere(profile, h100), a100.device.name);
  profile.cluster = "a room of our own";
  EXPECT_EQ(measured_elsewhere(profile, h100), "a room of our own");
  profile.evidence.clear();
  EXPECT_FALSE(measured_elsewhere(profile, h100)) << "measured nowhere";
}

TEST(MeasuredElsewhere, KnowsEveryDeviceOfTheRuns) {
  StackProfile profile;
  const Cluster a100 = *read_cluster("a100-80gb-sxm"), h100 = *read_cluster("h100-80gb-sxm");
  profile.cluster = "a100-80gb-sxm";
  profile.range.emplace().device_names = {a100.device.name, h100.device.name};
  EXPECT_FALSE(measured_elsewhere(profile, h100));
  EXPECT_EQ(measured_elsewhere(profile, *read_cluster("b200-sxm")),
            a100.device.name + ", " + h100.device.name);
}

TEST(MeasuredElsewhere, IsAboutTheDeviceNotTheRoom) {
  StackProfile profile;
  profile.evidence = {{.source = "runs.csv", .runs = 8}};
  profile.cluster = "a100-80gb-sxm";
  Cluster own = *read_cluster("a100-80gb-sxm");
  own.name = "the new room";
  EXPECT_FALSE(measured_elsewhere(profile, own));
}

}  // namespace
}  // namespace kumihimo
