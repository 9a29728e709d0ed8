#include "runs/spellings.hpp"

#include <array>
#include <charconv>

#include "layout/names.hpp"
#include "layout/validate.hpp"

namespace kumihimo {
namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

template <class Value>
struct Spelling {
  std::string_view text;
  Value value;
};

template <class Value, std::size_t size>
std::optional<Value> find_spelling(const std::array<Spelling<Value>, size>& known,
                                   std::string_view text) {
  for (const auto& spelling : known)
    if (spelling.text == text) return spelling.value;
  return std::nullopt;
}

using PrecisionSpelling = Spelling<Precision>;
constexpr std::array precisions{
    PrecisionSpelling{"fp32", Precision::fp32},    PrecisionSpelling{"tf32", Precision::tf32},
    PrecisionSpelling{"fp16", Precision::fp16},    PrecisionSpelling{"amp_fp16", Precision::fp16},
    PrecisionSpelling{"bf16", Precision::bf16},    PrecisionSpelling{"amp_bf16", Precision::bf16},
    PrecisionSpelling{"amp", Precision::bf16},     PrecisionSpelling{"bfloat16", Precision::bf16},
    PrecisionSpelling{"float16", Precision::fp16}, PrecisionSpelling{"float32", Precision::fp32},
    PrecisionSpelling{"amp_fp8", Precision::fp8},  PrecisionSpelling{"mxfp8", Precision::fp8},
    PrecisionSpelling{"float8", Precision::fp8},   PrecisionSpelling{"e4m3", Precision::fp8},
};

// Matched after "_", "-" and spaces are taken out.
using KernelSpelling = Spelling<AttentionKernel>;
constexpr std::array kernels{
    KernelSpelling{"torch", AttentionKernel::unfused},
    KernelSpelling{"unfused", AttentionKernel::unfused},
    KernelSpelling{"fused", AttentionKernel::fused_softmax},
    KernelSpelling{"fusedsoftmax", AttentionKernel::fused_softmax},
    KernelSpelling{"megatronfusedsoftmax(noflash)", AttentionKernel::fused_softmax},
    KernelSpelling{"flash", AttentionKernel::flash1},
    KernelSpelling{"flash1", AttentionKernel::flash1},
    KernelSpelling{"flash2", AttentionKernel::flash2},
    KernelSpelling{"flash3", AttentionKernel::flash3},
    KernelSpelling{"flashattention", AttentionKernel::flash1},
    KernelSpelling{"sdpaflash", AttentionKernel::flash2},
};

std::optional<AttentionKernel> read_kernel(std::string_view name) {
  std::string compact;
  for (const char c : name)
    if (c != '_' && c != '-' && c != ' ') compact.push_back(c);
  if (const auto known = find_spelling(kernels, compact)) return known;

  // "flashattention2", "flashattentionv1.0.8": the first digit is the major version.
  constexpr std::string_view prefix = "flashattention";
  if (!compact.starts_with(prefix)) return std::nullopt;
  std::string_view version = std::string_view(compact).substr(prefix.size());
  if (version.starts_with('v')) version.remove_prefix(1);
  if (version.empty() || (version.size() > 1 && version[1] != '.')) return std::nullopt;
  switch (version.front()) {
    case '1': return AttentionKernel::flash1;
    case '2': return AttentionKernel::flash2;
    case '3': return AttentionKernel::flash3;
    default: return std::nullopt;
  }
}

}  // namespace

std::string lower_case(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for (const char c : text) result.push_back(lower(c));
  return result;
}

std::string_view trim(std::string_view text) {
  constexpr std::string_view blanks = " \t\r\n";
  const std::size_t first = text.find_first_not_of(blanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

std::optional<Precision> read_precision(std::string_view cell) {
  const std::string name = lower_case(trim(cell));
  if (const auto known = find_spelling(precisions, name)) return known;
  // Recipes of fp8 differ in scaling, which their stack's profile holds: "FP8-CS", "fp8 rowwise".
  if (name.starts_with("fp8")) return Precision::fp8;
  return std::nullopt;
}

std::optional<AttentionSpelling> read_attention(std::string_view cell) {
  std::string name = lower_case(trim(cell));
  const bool sweep_name = name.starts_with("torch") || name.starts_with("flash_attention") ||
                          name == "fused" || name.starts_with("fused +");
  std::optional<NormKernel> norm;
  if (sweep_name) norm = NormKernel::unfused;
  if (const std::size_t plus = name.find('+'); plus != std::string::npos) {
    if (trim(std::string_view(name).substr(plus + 1)) != "rms kernel") return std::nullopt;
    norm = NormKernel::fused;
    name = trim(std::string_view(name).substr(0, plus));
  }
  const auto kernel = read_kernel(name);
  if (!kernel) return std::nullopt;
  return AttentionSpelling{*kernel, norm};
}

std::optional<Recompute> read_recompute(std::string_view cell) {
  constexpr std::array<Spelling<Recompute>, 3> known{
      {{"none", Recompute::none}, {"selective", Recompute::selective}, {"full", Recompute::full}}};
  return find_spelling(known, lower_case(trim(cell)));
}

std::optional<ZeroSpelling> read_zero_stage(std::string_view cell) {
  const std::string text = lower_case(trim(cell));
  if (text.empty() || text.front() < '0' || text.front() > '3') return std::nullopt;
  ZeroSpelling result{text.front() - '0', 0};
  std::string_view remark = trim(std::string_view(text).substr(1));
  if (remark.empty()) return result;
  if (!remark.starts_with('(') || !remark.ends_with(')')) return std::nullopt;

  remark = remark.substr(1, remark.size() - 2);
  constexpr std::string_view group = "shard group ";
  if (!remark.starts_with(group)) return result;
  remark.remove_prefix(group.size());
  if (remark == "all") return result;
  const char* end = remark.data() + remark.size();
  const auto [last, fault] = std::from_chars(remark.data(), end, result.group);
  if (fault != std::errc() || last != end || result.group < 1 || result.group > max_degree)
    return std::nullopt;
  return result;
}

}  // namespace kumihimo
