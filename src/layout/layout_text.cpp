#include "layout/layout_text.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <utility>
#include <vector>

#include "base/suggest.hpp"
#include "layout/names.hpp"
#include "layout/validate.hpp"

namespace kumihimo {
namespace {

constexpr std::size_t max_text_length = 1 << 14;
/// No model has more layers in one stage.
constexpr int max_stage_layers = 1 << 20;

std::string where(std::string_view key) { return fmt::format("layout: {}", key); }

// A parser per type of value. Each appends to `errors` and leaves `into` alone on a fault.

void read_number(std::string_view key, std::string_view value, int smallest, int largest, int& into,
                 Errors& errors) {
  int number = 0;
  const auto [end, fault] = std::from_chars(value.data(), value.data() + value.size(), number);
  const bool whole = fault == std::errc{} && end == value.data() + value.size();
  if (whole && number >= smallest && number <= largest) {
    into = number;
  } else {
    errors.push_back({where(key), fmt::format("is \"{}\"", value),
                      fmt::format("give a whole number from {} to {}", smallest, largest)});
  }
}

void read_switch(std::string_view key, std::string_view value, bool& into, Errors& errors) {
  if (value == "true" || value == "false") {
    into = value == "true";
  } else {
    errors.push_back({where(key), fmt::format("is \"{}\"", value), "give true or false"});
  }
}

template <class Enum>
void read_name(std::string_view key, std::string_view value, Enum& into, Errors& errors) {
  const Expected<Enum> parsed = parse_name<Enum>(value, where(key));
  if (parsed) into = *parsed;
  collect(errors, parsed);
}

/// Calls `use` for every part of `text` between separators, empty parts included.
template <class Use>
void for_each_part(std::string_view text, char separator, Use use) {
  for (;;) {
    const std::size_t end = text.find(separator);
    use(text.substr(0, end));
    if (end == std::string_view::npos) return;
    text.remove_prefix(end + 1);
  }
}

void read_offload(std::string_view key, std::string_view value, Offload& into, Errors& errors) {
  Offload offload;
  if (value == "none") {
    into = offload;
    return;
  }
  for_each_part(value, '+', [&](std::string_view part) {
    if (part == "optimizer") {
      offload.optimizer = true;
    } else if (part == "activations") {
      offload.activations = true;
    } else if (part == "weights") {
      offload.weights = true;
    } else {
      const std::vector<std::string> known{"none", "optimizer", "activations", "weights"};
      errors.push_back({where(key), fmt::format("\"{}\" is unknown", part), suggest(part, known)});
    }
  });
  into = offload;
}

void read_layer_split(std::string_view key, std::string_view value, std::vector<int>& into,
                      Errors& errors) {
  into.clear();
  for_each_part(value, '/', [&](std::string_view part) {
    into.push_back(0);
    read_number(key, part, 0, max_stage_layers, into.back(), errors);
  });
}

struct Setting {
  std::string_view key;
  void (*read)(std::string_view key, std::string_view value, ParallelLayout& into, Errors& errors);
};

template <int ParallelLayout::*member>
void read_degree(std::string_view key, std::string_view value, ParallelLayout& into,
                 Errors& errors) {
  read_number(key, value, 1, max_degree, into.*member, errors);
}

template <bool ParallelLayout::*member>
void read_flag(std::string_view key, std::string_view value, ParallelLayout& into, Errors& errors) {
  read_switch(key, value, into.*member, errors);
}

template <auto member>
void read_choice(std::string_view key, std::string_view value, ParallelLayout& into,
                 Errors& errors) {
  read_name(key, value, into.*member, errors);
}

using L = ParallelLayout;

constexpr Setting settings[] = {
    {"tp", read_degree<&L::tensor_parallel>},
    {"pp", read_degree<&L::pipeline_parallel>},
    {"dp", read_degree<&L::data_parallel>},
    {"cp", read_degree<&L::context_parallel>},
    {"micro-batch", read_degree<&L::micro_batch_size>},
    {"schedule", read_choice<&L::schedule>},
    {"vpp", read_degree<&L::virtual_stages_per_rank>},
    {"recompute", read_choice<&L::recompute>},
    {"sp", read_flag<&L::sequence_parallel>},
    {"zero", [](std::string_view key, std::string_view value, L& into,
                Errors& errors) { read_number(key, value, 0, 3, into.zero_stage, errors); }},
    {"zero-group",
     [](std::string_view key, std::string_view value, L& into, Errors& errors) {
       read_number(key, value, 0, max_degree, into.zero_group, errors);
     }},
    {"attention", read_choice<&L::attention>},
    {"norm", read_choice<&L::norm>},
    {"precision", read_choice<&L::precision>},
    {"gradient-dtype", read_choice<&L::gradient_dtype>},
    {"overlap-dp", read_flag<&L::overlap_data_parallel>},
    {"overlap-tp", read_flag<&L::overlap_tensor_parallel>},
    {"offload", [](std::string_view key, std::string_view value, L& into,
                   Errors& errors) { read_offload(key, value, into.offload, errors); }},
    {"layers", [](std::string_view key, std::string_view value, L& into,
                  Errors& errors) { read_layer_split(key, value, into.layer_split, errors); }},
};

/// How frameworks, and our own tables, spell settings.
constexpr std::pair<std::string_view, std::string_view> other_spellings[] = {
    {"mb", "micro-batch"},      {"mbs", "micro-batch"},         {"micro-batch-size", "micro-batch"},
    {"tensor-parallel", "tp"},  {"pipeline-parallel", "pp"},    {"data-parallel", "dp"},
    {"context-parallel", "cp"}, {"sequence-parallel", "sp"},    {"virtual-stages", "vpp"},
    {"zero-stage", "zero"},     {"recomputation", "recompute"},
};

/// What to write in place of a key that is no setting.
std::string nearest_setting(std::string_view key) {
  for (const auto& [spelling, setting] : other_spellings) {
    if (key == spelling) return fmt::format("write \"{}\"", setting);
  }
  std::vector<std::string> known;
  for (const Setting& setting : settings) known.emplace_back(setting.key);
  return suggest(key, known);
}

constexpr std::size_t setting_index(std::string_view key) {
  std::size_t index = 0;
  while (index < std::size(settings) && settings[index].key != key) ++index;
  return index;
}

}  // namespace

Expected<ParallelLayout> parse_layout(std::string_view text) {
  if (text.size() > max_text_length) {
    return Error{"layout", fmt::format("is {} characters long", text.size()),
                 fmt::format("give at most {}", max_text_length)};
  }
  ParallelLayout layout;
  Errors errors;
  std::array<bool, std::size(settings)> given{};

  constexpr std::string_view separators = " ,\t\r\n";
  for (std::size_t begin = 0;;) {
    begin = text.find_first_not_of(separators, begin);
    if (begin == std::string_view::npos) break;
    const std::size_t end = std::min(text.find_first_of(separators, begin), text.size());
    const std::string_view part = text.substr(begin, end - begin);
    begin = end;

    const std::size_t equals = part.find('=');
    if (equals == std::string_view::npos || equals == 0) {
      errors.push_back({"layout", fmt::format("\"{}\" is not of the form key=value", part),
                        "write for example tp=8, without spaces around ="});
      continue;
    }
    const std::string_view key = part.substr(0, equals);
    const std::size_t index = setting_index(key);
    if (index == std::size(settings)) {
      errors.push_back({where(key), "is no setting of a layout", nearest_setting(key)});
      continue;
    }
    if (given[index]) {
      errors.push_back({where(key), "is given twice", "keep one of them"});
      continue;
    }
    given[index] = true;
    settings[index].read(key, part.substr(equals + 1), layout, errors);
  }
  if (!errors.empty()) return errors;

  if (!given[setting_index("schedule")] && layout.virtual_stages_per_rank > 1) {
    layout.schedule = ScheduleKind::interleaved;
  }
  return layout;
}

std::string to_text(const Offload& offload) {
  std::vector<std::string_view> parts;
  if (offload.optimizer) parts.push_back("optimizer");
  if (offload.activations) parts.push_back("activations");
  if (offload.weights) parts.push_back("weights");
  return parts.empty() ? "none" : fmt::format("{}", fmt::join(parts, "+"));
}

std::string to_text(const ParallelLayout& layout) {
  const ParallelLayout defaults;
  std::string text = fmt::format("tp={} pp={} dp={}", layout.tensor_parallel,
                                 layout.pipeline_parallel, layout.data_parallel);
  const auto add = [&](std::string_view key, const auto& value) {
    text += fmt::format(" {}={}", key, value);
  };
  if (layout.context_parallel != 1) add("cp", layout.context_parallel);
  add("micro-batch", layout.micro_batch_size);
  add("schedule", to_string(layout.schedule));
  if (layout.virtual_stages_per_rank != 1) add("vpp", layout.virtual_stages_per_rank);
  add("recompute", to_string(layout.recompute));
  add("sp", layout.sequence_parallel);
  add("zero", layout.zero_stage);
  if (layout.zero_group != 0) add("zero-group", layout.zero_group);
  add("attention", to_string(layout.attention));
  add("norm", to_string(layout.norm));
  add("precision", to_string(layout.precision));
  if (layout.gradient_dtype != defaults.gradient_dtype) {
    add("gradient-dtype", to_string(layout.gradient_dtype));
  }
  if (layout.overlap_data_parallel != defaults.overlap_data_parallel) {
    add("overlap-dp", layout.overlap_data_parallel);
  }
  if (layout.overlap_tensor_parallel != defaults.overlap_tensor_parallel) {
    add("overlap-tp", layout.overlap_tensor_parallel);
  }
  if (layout.offload.any()) add("offload", to_text(layout.offload));
  if (!layout.layer_split.empty()) {
    add("layers", fmt::format("{}", fmt::join(layout.layer_split, "/")));
  }
  return text;
}

std::string short_text(const ParallelLayout& layout) {
  std::string text =
      fmt::format("tp {} · pp {} · dp {} · mb {}", layout.tensor_parallel, layout.pipeline_parallel,
                  layout.data_parallel, layout.micro_batch_size);
  if (layout.context_parallel != 1) text += fmt::format(" · cp {}", layout.context_parallel);
  if (layout.virtual_stages_per_rank != 1) {
    text += fmt::format(" · vpp {}", layout.virtual_stages_per_rank);
  }
  return text;
}

}  // namespace kumihimo
