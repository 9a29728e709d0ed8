// The figures of catalog/clusters: that they read, that each is cited, and that the ones which
// plans rest on are the dense, one-directional ones.
#include <algorithm>
#include <gtest/gtest.h>
#include <map>
#include <string>
#include <vector>

#include "base/catalog.hpp"
#include "cluster/cluster_file.hpp"

namespace kumihimo {
namespace {

class EveryCluster : public testing::TestWithParam<std::string> {
 protected:
  EveryCluster() : cluster_(read_cluster(GetParam())) {}

  bool is_cited(const std::string& key) const {
    for (const Source& source : cluster_->sources) {
      for (const std::string& cited : source.keys) {
        if (key == cited || key.starts_with(cited + ".")) return true;
      }
    }
    return false;
  }

  Expected<Cluster> cluster_;
};

TEST_P(EveryCluster, reads_and_bears_the_name_of_its_file) {
  ASSERT_TRUE(cluster_.has_value()) << to_string(cluster_.errors());
  EXPECT_EQ(cluster_->name, GetParam());
  EXPECT_FALSE(cluster_->description.empty());
}

TEST_P(EveryCluster, states_its_architecture) {
  ASSERT_TRUE(cluster_.has_value());
  EXPECT_FALSE(cluster_->device.architecture.empty());
}

TEST_P(EveryCluster, cites_every_figure) {
  ASSERT_TRUE(cluster_.has_value());
  std::vector<std::string> figures{"devices_per_node",
                                   "device.memory",
                                   "device.memory_bandwidth",
                                   "host.memory",
                                   "host.link_bandwidth",
                                   "links.intra_node.bandwidth",
                                   "links.intra_node.latency",
                                   "links.inter_node.nic_bandwidth",
                                   "links.inter_node.nics_per_node",
                                   "links.inter_node.latency"};
  for (const Precision precision : all_precisions) {
    if (cluster_->device.supports(precision)) {
      figures.push_back("device.peak." + std::string(to_string(precision)));
    }
  }
  for (const Precision precision : all_precisions) {
    if (cluster_->device.achievable_flop_per_s[static_cast<std::size_t>(precision)] > 0) {
      figures.push_back("device.achievable." + std::string(to_string(precision)));
    }
  }
  if (cluster_->device.power_w > 0) figures.emplace_back("device.power");
  for (const std::string& figure : figures) EXPECT_TRUE(is_cited(figure)) << figure;
}

TEST_P(EveryCluster, is_ordered_as_machines_are) {
  ASSERT_TRUE(cluster_.has_value());
  const Device& device = cluster_->device;
  // Faster formats are narrower ones, and nothing outside the device is faster than its memory.
  for (const Precision narrow : {Precision::tf32, Precision::fp16, Precision::bf16}) {
    if (device.supports(narrow)) {
      EXPECT_GE(device.peak(narrow), device.peak(Precision::fp32));
    }
  }
  if (device.supports(Precision::fp8)) {
    EXPECT_NEAR(device.peak(Precision::fp8) / device.peak(Precision::bf16), 2.0, 0.05);
  }
  EXPECT_LT(cluster_->intra_node.bandwidth, device.memory_bandwidth);
  EXPECT_LE(cluster_->inter_node.bandwidth, cluster_->intra_node.bandwidth);
  EXPECT_LE(cluster_->intra_node.latency_s, cluster_->inter_node.latency_s);
}

TEST_P(EveryCluster, survives_writing_and_reading) {
  ASSERT_TRUE(cluster_.has_value());
  const Expected<Cluster> again = parse_cluster(write_cluster(*cluster_), "written");
  ASSERT_TRUE(again.has_value()) << to_string(again.errors());
  EXPECT_EQ(*again, *cluster_);
}

INSTANTIATE_TEST_SUITE_P(Catalog, EveryCluster,
                         testing::ValuesIn(catalog_names(CatalogKind::clusters)),
                         [](const testing::TestParamInfo<std::string>& parameter) {
                           std::string name = parameter.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(ClusterCatalog, no_two_clusters_share_a_name) {
  std::map<std::string, std::string> owner;
  for (const std::string& name : catalog_names(CatalogKind::clusters)) {
    const Expected<Cluster> cluster = read_cluster(name);
    ASSERT_TRUE(cluster.has_value());
    std::vector<std::string> names = cluster->aliases;
    // "CPU" names the cluster "cpu" already: only other clusters may not bear a name.
    names.push_back(name);
    for (std::string alias : names) {
      std::transform(alias.begin(), alias.end(), alias.begin(), ::tolower);
      const auto [known, added] = owner.emplace(alias, name);
      EXPECT_TRUE(added || known->second == name) << alias << ": " << known->second << ", " << name;
    }
  }
}

TEST(ClusterCatalog, knows_the_device_names_of_published_runs) {
  const std::map<std::string, std::string> expected{
      {"A100", "a100-80gb-sxm"},
      {"A100-80GB", "a100-80gb-sxm"},
      {"A100-SXM4-80GB", "a100-80gb-sxm"},
      {"A100-40GB", "a100-40gb-sxm"},
      {"A800", "a800-80gb-sxm"},
      {"A800-80GB", "a800-80gb-sxm"},
      {"H100", "h100-80gb-sxm"},
      {"H100-80GB", "h100-80gb-sxm"},
      {"H100-96GB-HBM2e-500W", "h100-96gb-hbm2e-sxm-500w"},
      {"H200", "h200-sxm"},
      {"V100-SXM2-32GB", "v100-32gb-sxm"},
      {"V100-SXM2-16GB", "v100-16gb-sxm"},
      {"RTX4090", "rtx-4090"},
      {"RTX PRO 6000", "rtx-pro-6000"},
      {"L40S", "l40s"},
      {"MI250X", "mi250x"},
      {"MI300X", "mi300x"},
      {"B200", "b200-sxm"},
      {"GB200", "gb200-nvl72"},
      {"GH200", "gh200"},
  };
  for (const auto& [alias, name] : expected) {
    const Expected<Cluster> cluster = read_cluster(alias);
    ASSERT_TRUE(cluster.has_value()) << alias << "\n" << to_string(cluster.errors());
    EXPECT_EQ(cluster->name, name);
  }
}

TEST(ClusterCatalog, a100_80gb) {
  const Cluster cluster = *read_cluster("a100-80gb-sxm");
  EXPECT_EQ(cluster.device.memory, Bytes{81920} << 20);
  EXPECT_DOUBLE_EQ(cluster.device.peak(Precision::bf16), 312e12);
  EXPECT_DOUBLE_EQ(cluster.intra_node.bandwidth, 600e9 / 2);
  EXPECT_DOUBLE_EQ(cluster.inter_node.bandwidth, 8 * 200e9 / 8 / 8);
}

TEST(ClusterCatalog, sparse_vendor_figures_are_halved) {
  // Per GPU of an HGX B200 and of a GB200 NVL72, from figures with sparsity for the whole system.
  EXPECT_DOUBLE_EQ(read_cluster("b200-sxm")->device.peak(Precision::fp8), 72e15 / 8 / 2);
  EXPECT_DOUBLE_EQ(read_cluster("gb200-nvl72")->device.peak(Precision::bf16), 360e15 / 72 / 2);
}

TEST(ClusterCatalog, two_devices_of_a_mesh_have_the_links_between_them) {
  EXPECT_DOUBLE_EQ(read_cluster("mi300x")->intra_node_bandwidth(2), 64e9);
  EXPECT_DOUBLE_EQ(read_cluster("gh200")->intra_node_bandwidth(2), 6 * 25e9);
  EXPECT_DOUBLE_EQ(read_cluster("h100-80gb-sxm")->intra_node_bandwidth(2), 900e9 / 2);
}

TEST(ClusterCatalog, mi250x_counts_each_die) {
  const Cluster cluster = *read_cluster("mi250x");
  EXPECT_DOUBLE_EQ(cluster.device.peak(Precision::bf16), 383e12 / 2);
  EXPECT_DOUBLE_EQ(cluster.device.memory_bandwidth, 3276.8e9 / 2);
  // Four adapters of 25 GB/s serve eight devices.
  EXPECT_DOUBLE_EQ(cluster.inter_node.bandwidth, 25e9 * 4 / 8);
}

}  // namespace
}  // namespace kumihimo
