#include "cost/stack_profile_file.hpp"

#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <string>

#include "base/catalog.hpp"
#include "cluster/cluster_file.hpp"

namespace kumihimo {
namespace {

/// A profile in which no value is the struct's default.
StackProfile unlike_the_defaults() {
  StackProfile profile;
  profile.name = "mine";
  profile.description = "A stack of \"ours\"";
  profile.origin = "12 runs of the cellar";
  profile.cluster = "a100-80gb-sxm";
  profile.sources = {"our/\"trainer\"", "2311.05610"};
  profile.defaults = {.recompute = Recompute::full,
                      .attention = AttentionKernel::fused_softmax,
                      .norm = NormKernel::unfused,
                      .precision = Precision::fp16,
                      .gradient_dtype = Precision::bf16,
                      .zero_stage = 3,
                      .sequence_parallel = true,
                      .overlap_data_parallel = false,
                      .overlap_tensor_parallel = true,
                      .vocab_parallel_loss = false,
                      .scatter_gather_boundary = true,
                      .layer_balance = LayerBalance::blocks,
                      .vocab_multiple = 128};
  double share = 0.3;
  for (const ProfileParameter& parameter : profile_parameters()) {
    profile.*parameter.member = parameter.lower + (parameter.upper - parameter.lower) * share;
    share += 0.013;
  }
  profile.time_residual = 0.0213;
  profile.memory_residual = 0.047;
  profile.range = FittedRange{.layer_parameters = {1e9, 64.3e9},
                              .devices = {8, 256},
                              .seq_length = {2048, 8192},
                              .device_names = {"Our \"A100\"", "Our H100"},
                              .precisions = {Precision::fp16, Precision::fp8}};
  profile.evidence = {{"runs.csv", 12, 0.0345, 0.0217, false}, {"other.csv", 3, 0.1, 0, true}};
  profile.spreads = {{"rates.loss", 0.12}, {"seconds.step", 0.3}, {"memory.context_gib", 0.05}};
  return profile;
}

/// The text of that profile with the first occurrence of `from` replaced.
std::string edited(const std::string& from, const std::string& to) {
  std::string text = write_stack_profile(unlike_the_defaults());
  const std::size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from << " is not in\n" << text;
  return at == std::string::npos ? text : text.replace(at, from.size(), to);
}

/// The text with the value of the line that starts with `key = ` replaced.
std::string with_value(const std::string& key, const std::string& value) {
  const std::string text = "\n" + write_stack_profile(unlike_the_defaults());
  const std::size_t line = text.find("\n" + key + " = ");
  EXPECT_NE(line, std::string::npos) << key;
  const std::size_t start = line + 1 + key.size() + 3;
  return text.substr(1, start - 1) + value + text.substr(text.find('\n', start));
}

std::string without_line(const std::string& key) {
  const std::string text = "\n" + write_stack_profile(unlike_the_defaults());
  const std::size_t line = text.find("\n" + key + " = ");
  EXPECT_NE(line, std::string::npos) << key;
  return text.substr(1, line) + text.substr(text.find('\n', line + 1) + 1);
}

Errors faults_of(const std::string& text) {
  const Expected<StackProfile> profile = parse_stack_profile(text, "mine.toml");
  EXPECT_FALSE(profile.has_value()) << text;
  return profile ? Errors{} : profile.errors();
}

Error fault_of(const std::string& text) {
  const Errors faults = faults_of(text);
  EXPECT_EQ(faults.size(), 1u) << to_string(faults);
  return faults.empty() ? Error{} : faults.front();
}

bool holds(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(StackProfileFile, what_is_written_reads_back_to_the_same_value) {
  const StackProfile profile = unlike_the_defaults();
  const std::string text = write_stack_profile(profile);
  const Expected<StackProfile> read = parse_stack_profile(text, "mine.toml");
  ASSERT_TRUE(read.has_value()) << to_string(read.errors()) << text;
  EXPECT_EQ(*read, profile) << text;

  StackProfile plain;
  plain.name = plain.origin = plain.cluster = "x";
  const Expected<StackProfile> plain_read = parse_stack_profile(write_stack_profile(plain), "x");
  ASSERT_TRUE(plain_read.has_value()) << to_string(plain_read.errors());
  EXPECT_EQ(*plain_read, plain);
}

TEST(StackProfileFile, every_parameter_keeps_its_bounds) {
  for (const ProfileParameter& parameter : profile_parameters()) {
    for (const double bound : {parameter.lower, parameter.upper}) {
      StackProfile profile = unlike_the_defaults();
      profile.*parameter.member = bound;
      const Expected<StackProfile> read = parse_stack_profile(write_stack_profile(profile), "x");
      ASSERT_TRUE(read.has_value()) << parameter.key << ": " << to_string(read.errors());
      EXPECT_EQ((*read).*parameter.member, bound) << parameter.key;
    }
    StackProfile profile = unlike_the_defaults();
    profile.*parameter.member = parameter.upper * 1.01;
    const Expected<StackProfile> above = parse_stack_profile(write_stack_profile(profile), "x");
    EXPECT_FALSE(above.has_value()) << parameter.key;
  }
}

TEST(StackProfileFile, each_parameter_is_written_with_its_meaning) {
  const std::string text = write_stack_profile(unlike_the_defaults());
  for (const ProfileParameter& parameter : profile_parameters()) {
    EXPECT_TRUE(holds(text, "# " + std::string(parameter.meaning))) << parameter.key;
  }
}

TEST(StackProfileFile, durations_and_memory_carry_units) {
  const auto step = parse_stack_profile(with_value("step", "\"16.5ms\""), "mine.toml");
  ASSERT_TRUE(step.has_value()) << to_string(step.errors());
  EXPECT_DOUBLE_EQ(step->step_s, 0.0165);
  const auto context = parse_stack_profile(with_value("context", "\"512MiB\""), "mine.toml");
  ASSERT_TRUE(context.has_value()) << to_string(context.errors());
  EXPECT_DOUBLE_EQ(context->context_gib, 0.5);

  const Error bare = fault_of(with_value("context", "1.8"));
  EXPECT_EQ(bare.where, "mine.toml: memory.context");
  EXPECT_TRUE(holds(bare.fix, "GiB")) << bare.fix;
  const Error wrong = fault_of(with_value("step", "\"2GiB\""));
  EXPECT_EQ(wrong.where, "mine.toml: seconds.step");
  EXPECT_TRUE(holds(wrong.fix, "us")) << wrong.fix;
  const Error far = fault_of(with_value("kernel", "\"1h\""));
  EXPECT_EQ(far.where, "mine.toml: seconds.kernel");
  EXPECT_TRUE(holds(far.what, "1h")) << far.what;
}

TEST(StackProfileFile, shares_are_bare_numbers_within_bounds) {
  for (const char* value : {"1.3", "0", "-0.5", "nan", "inf", "1e400", "9223372036854775807"}) {
    const Errors faults = faults_of(with_value("matmul_16bit", value));
    ASSERT_EQ(faults.size(), 1u) << value;
  }
  const Error above = fault_of(with_value("matmul_16bit", "1.3"));
  EXPECT_EQ(above.where, "mine.toml: rates.matmul_16bit");
  EXPECT_EQ(above.what, "is 1.3");
  EXPECT_EQ(above.fix, "give a number from 0.05 to 1.25");
  EXPECT_TRUE(holds(fault_of(with_value("matmul_16bit", "\"80%\"")).what, "a text"));
  EXPECT_TRUE(parse_stack_profile(with_value("matmul_16bit", "1"), "x").has_value());
}

TEST(StackProfileFile, names_in_the_defaults_are_the_layouts_own) {
  const Error unknown = fault_of(with_value("attention", "\"flash_2\""));
  EXPECT_EQ(unknown.where, "mine.toml: defaults.attention");
  EXPECT_EQ(unknown.what, "\"flash_2\" is unknown");
  EXPECT_TRUE(holds(unknown.fix, "flash2")) << unknown.fix;
  EXPECT_EQ(fault_of(with_value("zero_stage", "4")).what, "is 4");
  EXPECT_EQ(fault_of(with_value("sequence_parallel", "\"true\"")).where,
            "mine.toml: defaults.sequence_parallel");
  EXPECT_EQ(fault_of(with_value("vocab_multiple", "0")).where,
            "mine.toml: defaults.vocab_multiple");
}

TEST(StackProfileFile, unknown_keys_are_refused_with_the_nearest) {
  const Error rate = fault_of(edited("matmul_fp8 = ", "gemm = 1\nmatmul_fp8 = "));
  EXPECT_EQ(rate.where, "mine.toml: rates.gemm");
  const Error near = fault_of(edited("[errors]\n", "[errors]\nsteptime = 1\n"));
  EXPECT_EQ(near.where, "mine.toml: errors.steptime");
  EXPECT_TRUE(holds(near.fix, "did you mean \"step_time\"?")) << near.fix;
  EXPECT_EQ(fault_of(edited("rates.loss = ", "rates.gain = 1\nrates.loss = ")).where,
            "mine.toml: spread.rates.gain");
  EXPECT_EQ(fault_of("colour = 1\n" + write_stack_profile(unlike_the_defaults())).where,
            "mine.toml: colour");
}

TEST(StackProfileFile, a_profile_on_its_own_names_every_value) {
  for (const ProfileParameter& parameter : profile_parameters()) {
    if (parameter.key.ends_with("_gib")) continue;  // the file states a unit instead
    const std::string key(parameter.key.substr(parameter.key.find('.') + 1));
    if (key == "data_parallel") continue;
    const Errors faults = faults_of(without_line(key));
    ASSERT_EQ(faults.size(), 1u) << key;
    EXPECT_EQ(faults.front().what, "is missing");
  }
  EXPECT_EQ(fault_of(without_line("origin")).where, "mine.toml: origin");
  EXPECT_EQ(fault_of(without_line("zero_stage")).where, "mine.toml: defaults.zero_stage");
}

TEST(StackProfileFile, a_range_is_whole_or_not_there) {
  EXPECT_EQ(fault_of(without_line("most_devices")).where, "mine.toml: range.most_devices");
  const Error turned = fault_of(with_value("most_seq_length", "1024"));
  EXPECT_EQ(turned.where, "mine.toml: range.most_seq_length");
  EXPECT_TRUE(holds(turned.fix, "2048")) << turned.fix;
  EXPECT_EQ(fault_of(with_value("precisions", "[\"fp9\"]")).where, "mine.toml: range.precisions");
  EXPECT_EQ(fault_of(edited("[range]\n", "[range]\nmost = 1\n")).where, "mine.toml: range.most");

  StackProfile profile = unlike_the_defaults();
  profile.range.reset();
  const auto read = parse_stack_profile(write_stack_profile(profile), "mine.toml");
  ASSERT_TRUE(read.has_value()) << to_string(read.errors());
  EXPECT_FALSE(read->range);
}

TEST(StackProfileFile, all_faults_come_at_once) {
  std::string text = without_line("cluster");
  text = text.replace(text.find("zero_stage = 3"), 14, "zero_stage = -1");
  text += "\n[[evidence]]\nsource = \"x\"\nruns = 0\nmape = 0.1\nmedian_error = \"a lot\"\n";
  const Errors faults = faults_of(text);
  std::string where;
  for (const Error& fault : faults) where += fault.where + "\n";
  EXPECT_EQ(where,
            "mine.toml: cluster\n"
            "mine.toml: defaults.zero_stage\n"
            "mine.toml: evidence[2].runs\n"
            "mine.toml: evidence[2].median_error\n"
            "mine.toml: evidence[2].held_out\n");
}

TEST(StackProfileFile, a_base_gives_what_the_file_leaves_out) {
  const std::vector<std::string> shipped = catalog_names(CatalogKind::stacks);
  if (shipped.empty()) GTEST_SKIP() << "the catalog has no stack profile";
  const Expected<StackProfile> base = read_stack_profile(shipped.front());
  ASSERT_TRUE(base.has_value()) << to_string(base.errors());
  const auto derived = parse_stack_profile("name = \"mine\"\norigin = \"a guess\"\nbase = \"" +
                                               shipped.front() + "\"\n[rates]\nloss = 0.25\n",
                                           "mine.toml");
  ASSERT_TRUE(derived.has_value()) << to_string(derived.errors());
  StackProfile expected = *base;
  expected.name = "mine";
  expected.description.clear();
  expected.origin = "a guess";
  expected.loss = 0.25;
  expected.evidence.clear();
  expected.spreads.clear();
  EXPECT_EQ(*derived, expected);
}

TEST(StackProfileFile, an_unknown_base_is_one_fault) {
  const Error fault =
      fault_of("name = \"mine\"\norigin = \"a guess\"\nbase = \"no-such-profile\"\n");
  EXPECT_EQ(fault.where, "mine.toml: base");
  EXPECT_TRUE(holds(fault.what, "no-such-profile")) << fault.what;
}

TEST(StackProfileFile, what_is_not_a_profile_is_refused) {
  EXPECT_EQ(fault_of("name = ").where.substr(0, 15), "mine.toml: line");
  EXPECT_TRUE(holds(fault_of(std::string(300 << 10, ' ')).what, "far larger"));
  std::string deep = "a";
  for (int level = 0; level < 5000; ++level) deep += ".a";
  EXPECT_TRUE(holds(fault_of(deep + " = 1").what, "far larger"));
  EXPECT_GT(faults_of("").size(), 30u);
  EXPECT_GT(faults_of("rates = 1\nspread = []\nevidence = {}\nerrors = \"\"").size(), 4u);
}

TEST(ReadStackProfile, reads_a_path_and_refuses_what_is_not_there) {
  const auto path = std::filesystem::temp_directory_path() / "kumihimo_stack_profile_test.toml";
  std::ofstream(path) << write_stack_profile(unlike_the_defaults());
  const Expected<StackProfile> read = read_stack_profile(path.string());
  std::filesystem::remove(path);
  ASSERT_TRUE(read.has_value()) << to_string(read.errors());
  EXPECT_EQ(*read, unlike_the_defaults());

  EXPECT_FALSE(read_stack_profile("no/such/file.toml").has_value());
  EXPECT_FALSE(read_stack_profile("no-such-profile").has_value());
  EXPECT_FALSE(read_stack_profile("./").has_value());
}

TEST(StackCatalog, every_profile_is_whole_and_names_its_cluster) {
  for (const std::string& name : catalog_names(CatalogKind::stacks)) {
    const Expected<StackProfile> profile = read_stack_profile(name);
    ASSERT_TRUE(profile.has_value()) << to_string(profile.errors());
    EXPECT_EQ(profile->name, name);
    EXPECT_TRUE(read_cluster(profile->cluster).has_value()) << profile->cluster;
    if (profile->origin.find("fitted to nothing") != std::string::npos) continue;  // it says so
    EXPECT_FALSE(profile->evidence.empty()) << name << " does not say what it was fitted to";
  }
}

}  // namespace
}  // namespace kumihimo
