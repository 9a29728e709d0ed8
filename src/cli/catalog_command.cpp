#include "cli/catalog_command.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/catalog.hpp"
#include "base/number_text.hpp"
#include "base/units.hpp"
#include "cli/json_text.hpp"
#include "cli/planner_json.hpp"
#include "cli/table.hpp"
#include "cli/terminal.hpp"
#include "cluster/cluster_file.hpp"
#include "cost/stack_profile_file.hpp"
#include "model/model_catalog.hpp"
#include "model/parameters.hpp"

namespace kumihimo {
namespace {

using Json = nlohmann::ordered_json;

/// One entry as a row of the list and as JSON.
struct Entry {
  std::vector<std::string> row;
  Json json;
};

/// How one kind of entry is listed.
struct Listing {
  CatalogKind kind;
  std::string_view plural;  ///< "models"
  std::vector<Column> columns;
  Expected<Entry> (*read)(const std::string& name);
};

Expected<Entry> read_model_entry(const std::string& name) {
  const auto model = read_model(name);
  if (!model) return model.errors();
  const double parameters = static_cast<double>(count_parameters(*model).total(model->layers));
  return Entry{
      {name, short_count(parameters), std::to_string(model->layers), std::to_string(model->hidden),
       std::to_string(model->heads), std::to_string(model->kv_heads), grouped(model->vocab),
       grouped(model->max_positions)},
      model_json(*model)};
}

Expected<Entry> read_cluster_entry(const std::string& name) {
  const auto cluster = read_cluster(name);
  if (!cluster) return cluster.errors();
  const Device& device = cluster->device;
  const double peak = device.supports(Precision::bf16)   ? device.peak(Precision::bf16)
                      : device.supports(Precision::fp16) ? device.peak(Precision::fp16)
                                                         : device.peak(Precision::fp32);
  return Entry{
      {name, format_bytes(static_cast<double>(device.memory)), format_flop_per_second(peak),
       std::to_string(cluster->devices_per_node), std::to_string(cluster->nodes),
       format_bytes_per_second(cluster->intra_node.bandwidth),
       format_bytes_per_second(cluster->inter_node.bandwidth)},
      cluster_json(*cluster)};
}

Expected<Entry> read_stack_entry(const std::string& name) {
  const auto stack = read_stack_profile(name);
  if (!stack) return stack.errors();
  return Entry{{name, stack->cluster, fmt::format("± {:.0f} %", 100 * stack->time_residual),
                stack->description},
               stack_json(*stack)};
}

Listing models() {
  return {CatalogKind::models,
          "models",
          {{"model"},
           {"parameters", Align::right},
           {"layers", Align::right},
           {"hidden", Align::right},
           {"heads", Align::right},
           {"kv heads", Align::right},
           {"vocabulary", Align::right},
           {"positions", Align::right}},
          read_model_entry};
}

Listing clusters() {
  return {CatalogKind::clusters,
          "clusters",
          {{"cluster"},
           {"memory", Align::right},
           {"16-bit peak", Align::right},
           {"per node", Align::right},
           {"nodes", Align::right},
           {"within a node", Align::right},
           {"between nodes", Align::right}},
          read_cluster_entry};
}

Listing stacks() {
  return {CatalogKind::stacks,
          "stacks",
          {{"stack"}, {"cluster"}, {"error", Align::right}, {"description"}},
          read_stack_entry};
}

ExitCode list_entries(const Listing& listing, const Flags& flags) {
  Table table{listing.columns, {}};
  Json entries = Json::array();
  Errors faults;
  for (const std::string& name : catalog_names(listing.kind)) {
    const auto entry = listing.read(name);
    collect(faults, entry);
    if (!entry) continue;
    table.rows.push_back(entry->row);
    entries.push_back(entry->json);
  }
  if (!faults.empty()) return refuse(faults);
  if (!flags.given("--json")) return print(to_text(table, 0));
  return print(to_json_text({{"schema", fmt::format("kumihimo.{}/1", listing.plural)},
                             {std::string(listing.plural), std::move(entries)}}));
}

ExitCode show_entry(const Listing& listing, const Flags& flags, Errors faults) {
  const auto name =
      flags.required_text("NAME", fmt::format("name one of `kumihimo {}`", listing.plural), faults);
  if (!faults.empty()) return refuse(faults);
  const auto file = find_in_catalog(listing.kind, *name);
  return file ? print(file->text) : refuse(file.errors());
}

void register_listing(CLI::App& program, CommandResult& result, Listing (*listing)(),
                      const CommandText& text, const CommandText& show) {
  Flags& list = add_command(program, result, text, [listing](const Flags& flags, Errors faults) {
    return faults.empty() ? list_entries(listing(), flags) : refuse(faults);
  });
  list.add_switch("--json", "print JSON, as docs/json.md describes it");
  Flags& entry =
      add_command(list.app(), result, show, [listing](const Flags& flags, Errors faults) {
        return show_entry(listing(), flags, std::move(faults));
      });
  entry.add_positional("NAME", "name in the list");
}

}  // namespace

void register_models(CLI::App& program, CommandResult& result) {
  register_listing(program, result, models,
                   {"models", "List the models of the catalog",
                    "  kumihimo models\n      every model with its shape"},
                   {"show", "Print a model's config.json",
                    "  kumihimo models show llama-13b > config.json\n      a copy to change"});
}

void register_clusters(CLI::App& program, CommandResult& result) {
  register_listing(program, result, clusters,
                   {"clusters", "List the clusters of the catalog",
                    "  kumihimo clusters\n      every cluster with its peak and links"},
                   {"show", "Print a cluster's TOML file, with the sources of its figures",
                    "  kumihimo clusters show h100-80gb-sxm > mine.toml\n      a copy to change"});
}

void register_stacks(CLI::App& program, CommandResult& result) {
  register_listing(program, result, stacks,
                   {"stacks", "List the stack profiles of the catalog",
                    "  kumihimo stacks\n      every profile with the error of its step times"},
                   {"show", "Print a stack profile, with the runs that it was fitted to",
                    "  kumihimo stacks\n  kumihimo stacks show NAME > mine.toml\n      a copy to "
                    "change"});
}

}  // namespace kumihimo
