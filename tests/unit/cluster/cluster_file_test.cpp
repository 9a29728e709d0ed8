#include "cluster/cluster_file.hpp"

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace kumihimo {
namespace {

const std::string valid = R"(name = "mine"
description = "Four nodes in the cellar"
aliases = ["cellar", "M-1"]
devices_per_node = 8
nodes = 4

[device]
name = "A device"
architecture = "hopper"
memory = "80GiB"
memory_bandwidth = "2039GB/s"
power = "400W"
price_per_hour = "1.80USD"

[device.peak]
fp32 = "19.5TFLOP/s"
bf16 = "312TFLOP/s"

[host]
memory = "2TiB"
link_bandwidth = "32GB/s"

[links.intra_node]
bandwidth = "300GB/s"
latency = "1.9us"

[links.inter_node]
nic_bandwidth = "200Gbps"
nics_per_node = 4
latency = "4us"

[[source]]
keys = ["device.peak", "device.memory"]
title = "Datasheet"
url = "https://example.org/a.pdf"
)";

/// `valid` with the first occurrence of `from` replaced.
std::string edited(const std::string& from, const std::string& to) {
  std::string text = valid;
  const std::size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

Errors faults_of(const std::string& text) {
  const Expected<Cluster> cluster = parse_cluster(text, "mine.toml");
  EXPECT_FALSE(cluster.has_value()) << text;
  return cluster ? Errors{} : cluster.errors();
}

/// The only fault of the text, which must have just one.
Error fault_of(const std::string& text) {
  const Errors faults = faults_of(text);
  EXPECT_EQ(faults.size(), 1u) << to_string(faults);
  return faults.empty() ? Error{} : faults.front();
}

bool holds(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(ParseCluster, reads_every_key) {
  const Expected<Cluster> read = parse_cluster(valid, "mine.toml");
  ASSERT_TRUE(read.has_value()) << to_string(read.errors());
  const Cluster& cluster = *read;
  EXPECT_EQ(cluster.name, "mine");
  EXPECT_EQ(cluster.description, "Four nodes in the cellar");
  EXPECT_EQ(cluster.aliases, (std::vector<std::string>{"cellar", "M-1"}));
  EXPECT_EQ(cluster.devices_per_node, 8);
  EXPECT_EQ(cluster.nodes, 4);
  EXPECT_EQ(cluster.devices(), 8 * 4);
  EXPECT_EQ(cluster.device.name, "A device");
  EXPECT_EQ(cluster.device.architecture, "hopper");
  EXPECT_EQ(cluster.device.memory, Bytes{80} << 30);
  EXPECT_DOUBLE_EQ(cluster.device.memory_bandwidth, 2.039e12);
  EXPECT_DOUBLE_EQ(cluster.device.power_w, 400);
  EXPECT_EQ(cluster.price_per_device_hour, (Money{1.8, Currency::usd}));
  EXPECT_DOUBLE_EQ(cluster.device.peak(Precision::fp32), 19.5e12);
  EXPECT_DOUBLE_EQ(cluster.device.peak(Precision::bf16), 312e12);
  EXPECT_FALSE(cluster.device.supports(Precision::fp8));
  EXPECT_EQ(cluster.host_memory, Bytes{2} << 40);
  EXPECT_DOUBLE_EQ(cluster.host_link_bandwidth, 32e9);
  EXPECT_DOUBLE_EQ(cluster.intra_node.bandwidth, 300e9);
  EXPECT_DOUBLE_EQ(cluster.intra_node.latency_s, 1.9e-6);
  EXPECT_DOUBLE_EQ(cluster.nic_bandwidth, 200e9 / 8);
  EXPECT_EQ(cluster.nics_per_node, 4);
  EXPECT_DOUBLE_EQ(cluster.inter_node.bandwidth, 25e9 * 4 / 8);
  EXPECT_DOUBLE_EQ(cluster.inter_node.latency_s, 4e-6);
  EXPECT_EQ(cluster.sources,
            (std::vector<Source>{
                {{"device.peak", "device.memory"}, "Datasheet", "https://example.org/a.pdf"}}));
}

TEST(ParseCluster, a_mesh_is_one_where_it_says_so) {
  EXPECT_FALSE(parse_cluster(valid, "mine.toml")->intra_node_mesh);
  EXPECT_TRUE(
      parse_cluster(edited("latency = \"1.9us\"", "latency = \"1.9us\"\nmesh = true"), "mine.toml")
          ->intra_node_mesh);
  const Error fault =
      fault_of(edited("latency = \"1.9us\"", "latency = \"1.9us\"\nmesh = \"yes\""));
  EXPECT_TRUE(holds(fault.where, "links.intra_node.mesh")) << fault.where;
}

TEST(ParseCluster, a_warp_keeps_up_with_all_unless_it_says_a_share) {
  const auto with = [](const std::string& share) {
    return edited("power = \"400W\"", "power = \"400W\"\nwarp_mma = " + share);
  };
  EXPECT_EQ(parse_cluster(valid, "mine.toml")->device.warp_mma, 1);
  EXPECT_DOUBLE_EQ(parse_cluster(with("\"52%\""), "mine.toml")->device.warp_mma, 0.52);
  for (const char* wrong : {"\"0%\"", "\"120%\"", "2", "\"52TFLOP/s\""}) {
    const Error fault = fault_of(with(wrong));
    EXPECT_TRUE(holds(fault.where, "device.warp_mma")) << fault.where;
  }
}

TEST(ParseCluster, optional_keys_may_be_absent) {
  std::string text = edited("power = \"400W\"\nprice_per_hour = \"1.80USD\"\n", "");
  text = text.substr(0, text.find("[[source]]"));
  const Expected<Cluster> cluster = parse_cluster(text, "mine.toml");
  ASSERT_TRUE(cluster.has_value()) << to_string(cluster.errors());
  EXPECT_EQ(cluster->device.power_w, 0);
  EXPECT_FALSE(cluster->price_per_device_hour.has_value());
  EXPECT_TRUE(cluster->sources.empty());
}

TEST(ParseCluster, architecture_is_optional) {
  const Expected<Cluster> cluster =
      parse_cluster(edited("architecture = \"hopper\"\n", ""), "mine.toml");
  ASSERT_TRUE(cluster.has_value()) << to_string(cluster.errors());
  EXPECT_EQ(cluster->device.architecture, "");
}

TEST(ParseCluster, refuses_an_unknown_architecture_with_the_nearest) {
  const Error fault = fault_of(edited("\"hopper\"", "\"hoper\""));
  EXPECT_EQ(fault.where, "mine.toml: device.architecture");
  EXPECT_PRED2(holds, fault.what, "\"hoper\"");
  EXPECT_PRED2(holds, fault.fix, "did you mean \"hopper\"");
}

TEST(ParseCluster, refuses_a_bare_number_with_the_units_that_would_do) {
  const Error fault = fault_of(edited("\"80GiB\"", "80"));
  EXPECT_EQ(fault.where, "mine.toml: device.memory");
  EXPECT_TRUE(holds(fault.what, "\"80\"")) << fault.what;
  EXPECT_TRUE(holds(fault.fix, "GiB")) << fault.fix;
  EXPECT_EQ(fault_of(edited("\"80GiB\"", "80.5")).where, "mine.toml: device.memory");
  EXPECT_EQ(fault_of(edited("\"80GiB\"", "nan")).where, "mine.toml: device.memory");
  EXPECT_EQ(fault_of(edited("\"80GiB\"", "-inf")).where, "mine.toml: device.memory");
}

TEST(ParseCluster, refuses_a_unit_of_another_dimension) {
  const Error fault = fault_of(edited("\"200Gbps\"", "\"200GiB\""));
  EXPECT_EQ(fault.where, "mine.toml: links.inter_node.nic_bandwidth");
  EXPECT_TRUE(holds(fault.fix, "Gbps")) << fault.fix;
}

TEST(ParseCluster, refuses_amounts_beyond_any_machine) {
  const std::vector<std::pair<std::string, std::string>> cases{
      {"\"80GiB\"", "\"80B\""},          {"\"80GiB\"", "\"90000TiB\""},
      {"\"80GiB\"", "\"0GiB\""},         {"\"80GiB\"", "\"-80GiB\""},
      {"\"80GiB\"", "\"1e300GiB\""},     {"\"300GB/s\"", "\"0GB/s\""},
      {"\"1.9us\"", "\"11s\""},          {"\"400W\"", "\"0W\""},
      {"\"312TFLOP/s\"", "\"1FLOP/s\""}, {"nodes = 4", "nodes = 0"},
      {"nodes = 4", "nodes = -4"},       {"nodes = 4", "nodes = 9223372036854775807"},
      {"_node = 8", "_node = 65537"},    {"nics_per_node = 4", "nics_per_node = 0"},
  };
  for (const auto& [from, to] : cases) {
    const Error fault = fault_of(edited(from, to));
    EXPECT_FALSE(fault.what.empty()) << to;
    EXPECT_FALSE(fault.fix.empty()) << to;
  }
}

TEST(ParseCluster, refuses_more_devices_than_an_int_should_count) {
  std::string text = edited("devices_per_node = 8", "devices_per_node = 65536");
  text.replace(text.find("nodes = 4"), 9, "nodes = 1000000");
  const Error fault = fault_of(text);
  EXPECT_EQ(fault.where, "mine.toml: nodes");
  EXPECT_TRUE(holds(fault.what, "65536000000 devices")) << fault.what;
}

TEST(ParseCluster, refuses_wrong_types) {
  EXPECT_EQ(fault_of(edited("nodes = 4", "nodes = \"4\"")).where, "mine.toml: nodes");
  EXPECT_EQ(fault_of(edited("nodes = 4", "nodes = 4.0")).where, "mine.toml: nodes");
  EXPECT_EQ(fault_of(edited("\"mine\"", "3")).where, "mine.toml: name");
  EXPECT_EQ(fault_of(edited("\"mine\"", "\"\"")).where, "mine.toml: name");
  EXPECT_EQ(fault_of(edited("\"mine\"", '"' + std::string(5000, 'x') + '"')).where,
            "mine.toml: name");
  EXPECT_EQ(fault_of(edited("[\"cellar\", \"M-1\"]", "\"cellar\"")).where, "mine.toml: aliases");
  EXPECT_EQ(fault_of(edited("\"M-1\"", "[1979-05-27]")).where, "mine.toml: aliases");
  EXPECT_EQ(fault_of(edited("\"80GiB\"", "true")).where, "mine.toml: device.memory");
  EXPECT_EQ(fault_of(edited("\"80GiB\"", "{ bytes = 3 }")).where, "mine.toml: device.memory");
}

TEST(ParseCluster, table_of_a_wrong_type_is_one_fault) {
  const std::string host = "[host]\nmemory = \"2TiB\"\nlink_bandwidth = \"32GB/s\"\n";
  const Error fault = fault_of("host = 3\n" + edited(host, ""));
  EXPECT_EQ(fault.where, "mine.toml: host");
  EXPECT_EQ(fault.what, "is a whole number; a table is needed");
  EXPECT_EQ(fault_of("source = [3]\n" + valid.substr(0, valid.find("[[source]]"))).where,
            "mine.toml: source");
}

TEST(ParseCluster, refuses_unknown_keys_with_the_nearest_known_one) {
  const Errors faults = faults_of(edited("memory_bandwidth", "memory_bandwith"));
  ASSERT_EQ(faults.size(), 2u) << to_string(faults);
  EXPECT_EQ(faults[0].where, "mine.toml: device.memory_bandwidth");
  EXPECT_EQ(faults[0].what, "is missing");
  EXPECT_EQ(faults[1].where, "mine.toml: device.memory_bandwith");
  EXPECT_TRUE(holds(faults[1].fix, "did you mean \"memory_bandwidth\"?")) << faults[1].fix;

  EXPECT_EQ(fault_of(edited("fp32 =", "fp64 =")).where, "mine.toml: device.peak.fp64");
  EXPECT_EQ(fault_of("colour = \"red\"\n" + valid).where, "mine.toml: colour");
  EXPECT_EQ(fault_of(edited("title =", "date = \"today\"\ntitle =")).where,
            "mine.toml: source[0].date");
}

TEST(ParseCluster, unknown_keys_are_shown_without_control_characters) {
  const Error fault = fault_of("\"a\\u0007\\u001b[2J\" = 1\n" + valid);
  EXPECT_EQ(fault.where, "mine.toml: a??[2J");
}

TEST(ParseCluster, lists_all_missing_keys) {
  const Errors faults = faults_of("");
  std::vector<std::string> missing;
  for (const Error& fault : faults) missing.push_back(fault.where.substr(11));
  EXPECT_EQ(missing, (std::vector<std::string>{
                         "name", "devices_per_node", "nodes", "device.name", "device.memory",
                         "device.memory_bandwidth", "device.peak", "host.memory",
                         "host.link_bandwidth", "links.intra_node.bandwidth",
                         "links.intra_node.latency", "links.inter_node.nic_bandwidth",
                         "links.inter_node.nics_per_node", "links.inter_node.latency"}));
}

TEST(ParseCluster, reads_what_products_reach_of_the_peak) {
  const Device unmeasured = parse_cluster(valid, "mine.toml")->device;
  EXPECT_DOUBLE_EQ(unmeasured.achievable(Precision::bf16), 0.8 * 312e12);
  const auto measured = parse_cluster(
      edited("[host]\n", "[device.achievable]\nbf16 = \"234TFLOP/s\"\n\n[host]\n"), "mine.toml");
  ASSERT_TRUE(measured.has_value()) << to_string(measured.errors());
  EXPECT_DOUBLE_EQ(measured->device.achievable(Precision::bf16), 234e12);
  EXPECT_DOUBLE_EQ(measured->device.achievable(Precision::fp32), 0.75 * 19.5e12);  // as bf16
  EXPECT_EQ(measured->device.achievable(Precision::fp8), 0);                       // none
  EXPECT_EQ(*parse_cluster(write_cluster(*measured), "written"), *measured);
}

TEST(ParseCluster, refuses_far_more_than_the_peak) {
  const auto with = [](const std::string& line) {
    return fault_of(edited("[host]\n", "[device.achievable]\n" + line + "\n\n[host]\n"));
  };
  EXPECT_EQ(with("bf16 = \"400TFLOP/s\"").where, "mine.toml: device.achievable.bf16");
  EXPECT_EQ(with("fp8 = \"600TFLOP/s\"").where, "mine.toml: device.achievable.fp8");
  EXPECT_EQ(with("bf15 = \"200TFLOP/s\"").where, "mine.toml: device.achievable.bf15");
}

TEST(ParseCluster, needs_at_least_one_peak) {
  const Error fault = fault_of(edited("fp32 = \"19.5TFLOP/s\"\nbf16 = \"312TFLOP/s\"\n", ""));
  EXPECT_EQ(fault.where, "mine.toml: device.peak");
}

TEST(ParseCluster, collects_faults_of_all_tables) {
  std::string text = edited("nodes = 4", "nodes = 0");
  text.replace(text.find("\"32GB/s\""), 8, "32");
  text.replace(text.find("\"4us\""), 5, "\"4m\"");
  EXPECT_EQ(faults_of(text).size(), 3u);
}

TEST(ParseCluster, sources_name_keys_and_pages) {
  const Error key = fault_of(edited("\"device.peak\", ", "\"device.peek\", "));
  EXPECT_EQ(key.where, "mine.toml: source[0].keys");
  EXPECT_TRUE(holds(key.what, "device.peek")) << key.what;
  EXPECT_EQ(fault_of(edited("\"device.peak\", ", "\"device.pea\", ")).where,
            "mine.toml: source[0].keys");
  EXPECT_EQ(fault_of(edited("https:", "javascript:")).where, "mine.toml: source[0].url");
  EXPECT_TRUE(parse_cluster(edited("\"device.peak\", ", "\"links\", "), "").has_value());
  EXPECT_TRUE(parse_cluster(edited("url = \"https://example.org/a.pdf\"\n", ""), "").has_value());
}

TEST(ParseCluster, syntax_errors_name_line_and_column) {
  const Error fault = fault_of(edited("\"80GiB\"", "80GiB"));
  EXPECT_TRUE(fault.where.starts_with("mine.toml: line 10, column ")) << fault.where;
  EXPECT_TRUE(holds(fault.fix, "quotes")) << fault.fix;
  fault_of("\xff\xfe");
  fault_of(std::string("a\0b", 3));
  fault_of("[device]\n[device]\n");
}

TEST(ParseCluster, survives_deep_nesting) {
  constexpr int depth = 100'000;
  std::string tables, dots;
  for (int i = 0; i < depth; ++i) {
    tables += "{a=";
    dots += "a.";
  }
  fault_of("a = " + std::string(depth, '['));
  fault_of("a = " + std::string(depth, '[') + std::string(depth, ']'));
  fault_of("a = " + tables);
  fault_of(dots + "a = 1");
  fault_of("[" + dots + "a]");
  fault_of("# " + std::string(1 << 20, 'x'));
  // The deepest that is parsed at all: refused as an unknown key beside the missing ones.
  EXPECT_GT(faults_of(dots.substr(0, 8000) + "a = 1").size(), 1u);
}

TEST(ParseCluster, damaged_text_gives_a_value_or_faults) {
  std::mt19937 random(7);
  const std::string alphabet = "[]{}\"'=.#\n\\ae0-_9\x80\xff";
  int refused = 0;
  for (int trial = 0; trial < 2000; ++trial) {
    std::string text = valid;
    for (int edit = 0; edit <= trial % 4; ++edit) {
      const std::size_t at = random() % text.size();
      switch (random() % 3) {
        case 0: text.erase(at, 1 + random() % 20); break;
        case 1: text.insert(at, 1, alphabet[random() % alphabet.size()]); break;
        default: text[at] = static_cast<char>(random()); break;
      }
    }
    const Expected<Cluster> cluster = parse_cluster(text, "mine.toml");
    if (!cluster) {
      ++refused;
      continue;
    }
    EXPECT_TRUE(parse_cluster(write_cluster(*cluster), "again").has_value());
  }
  EXPECT_GT(refused, 1000);
}

TEST(WriteCluster, reads_back_to_the_same_value) {
  const Expected<Cluster> cluster = parse_cluster(valid, "mine.toml");
  ASSERT_TRUE(cluster.has_value());
  const Expected<Cluster> again = parse_cluster(write_cluster(*cluster), "written");
  ASSERT_TRUE(again.has_value()) << to_string(again.errors());
  EXPECT_EQ(*again, *cluster);
}

TEST(WriteCluster, keeps_awkward_texts_and_measured_amounts) {
  Cluster cluster = *parse_cluster(valid, "mine.toml");
  cluster.name = "a \"quoted\" \\ name\nwith\ttabs \x01 \x7f and 組紐";
  cluster.aliases.clear();
  cluster.description.clear();
  cluster.price_per_device_hour.reset();
  cluster.sources.push_back({{"links"}, "Measured here", ""});
  cluster.device.power_w = 0;
  std::mt19937_64 random(11);
  for (int trial = 0; trial < 200; ++trial) {
    const auto about = [&](double scale) {
      return scale * std::uniform_real_distribution<double>(0.001, 1000)(random);
    };
    cluster.device.memory = static_cast<Bytes>(about(1e9)) + (1 << 20);
    cluster.device.memory_bandwidth = about(1e9);
    cluster.device.peak_flop_per_s[0] = about(1e10);
    cluster.intra_node = {about(1e9), about(1e-6)};
    cluster.nic_bandwidth = about(1e8);
    cluster.inter_node = {cluster.nic_bandwidth * cluster.nics_per_node / cluster.devices_per_node,
                          about(1e-9)};
    cluster.host_link_bandwidth = about(1e9);
    cluster.intra_node_mesh = trial % 2 == 1;
    cluster.device.warp_mma = about(1e-3) < 0.5 ? 1 : std::min(1.0, about(1e-3) + 0.01);
    const Expected<Cluster> again = parse_cluster(write_cluster(cluster), "written");
    ASSERT_TRUE(again.has_value()) << to_string(again.errors());
    ASSERT_EQ(*again, cluster);
  }
}

TEST(WriteCluster, prefers_the_units_that_people_use) {
  const std::string text = write_cluster(*parse_cluster(valid, "mine.toml"));
  for (const std::string line :
       {"memory = \"80GiB\"", "memory_bandwidth = \"2039GB/s\"", "bf16 = \"312TFLOP/s\"",
        "memory = \"2TiB\"", "latency = \"1.9us\"", "nic_bandwidth = \"200Gbps\"",
        "price_per_hour = \"1.8USD\""}) {
    EXPECT_TRUE(holds(text, line)) << line << " is not in\n" << text;
  }
}

TEST(WriteCluster, keeps_the_currency) {
  const std::string text =
      write_cluster(*parse_cluster(edited("\"1.80USD\"", "\"310JPY\""), "mine.toml"));
  EXPECT_TRUE(holds(text, "price_per_hour = \"310JPY\"")) << text;
}

class ReadCluster : public testing::Test {
 protected:
  ReadCluster() {
    folder_ = std::filesystem::path(testing::TempDir()) /
              ("kumihimo_read_cluster_" +
               std::string(testing::UnitTest::GetInstance()->current_test_info()->name()));
    std::filesystem::create_directories(folder_);
  }
  ~ReadCluster() override { std::filesystem::remove_all(folder_); }

  std::filesystem::path folder_;
};

TEST_F(ReadCluster, by_path) {
  const std::string path = (folder_ / "mine.toml").string();
  std::ofstream(path) << valid;
  const Expected<Cluster> cluster = read_cluster(path);
  ASSERT_TRUE(cluster.has_value()) << to_string(cluster.errors());
  EXPECT_EQ(cluster->name, "mine");

  std::ofstream(path) << edited("\"80GiB\"", "80");
  const Expected<Cluster> faulty = read_cluster(path);
  ASSERT_FALSE(faulty.has_value());
  EXPECT_EQ(faulty.errors()[0].where, path + ": device.memory");
}

TEST_F(ReadCluster, refuses_what_is_not_a_file) {
  for (const std::string& path :
       {(folder_ / "absent.toml").string(), folder_.string(), std::string("absent.toml"),
        std::string("/dev/null"), std::string("/")}) {
    EXPECT_FALSE(read_cluster(path).has_value()) << path;
  }
}

TEST_F(ReadCluster, by_catalog_name_or_alias_in_any_case) {
  for (const std::string name : {"a100-80gb-sxm", "A100-80GB-SXM", "A100-80GB", "a100"}) {
    const Expected<Cluster> cluster = read_cluster(name);
    ASSERT_TRUE(cluster.has_value()) << to_string(cluster.errors());
    EXPECT_EQ(cluster->name, "a100-80gb-sxm") << name;
  }
}

TEST_F(ReadCluster, unknown_name_gives_the_nearest) {
  const Expected<Cluster> cluster = read_cluster("a100-80gb-smx");
  ASSERT_FALSE(cluster.has_value());
  EXPECT_TRUE(holds(cluster.errors()[0].fix, "a100-80gb-sxm")) << cluster.errors()[0].fix;
  EXPECT_FALSE(read_cluster("").has_value());
}

}  // namespace
}  // namespace kumihimo
