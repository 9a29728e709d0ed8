#include "sweep/stored_runs.hpp"

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "cluster/cluster_file.hpp"
#include "layout/layout_text.hpp"
#include "store/exchange.hpp"

namespace kumihimo {
namespace {

/// Bytes of a rank that a sweep allowed its trials; 0: any.
Bytes allowed_memory(const Study& study) {
  const auto settings = nlohmann::json::parse(study.settings, nullptr, false);
  return settings.is_object() ? settings.value("device_memory_bytes", Bytes{0}) : 0;
}

}  // namespace

bool is_database(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::string first(15, '\0');
  file.read(first.data(), static_cast<std::streamsize>(first.size()));
  return file && first == "SQLite format 3";
}

Expected<std::vector<MeasuredRun>> stored_runs(Store& store, const Study& study) {
  Errors errors;
  std::map<std::int64_t, Cluster> machines;
  for (const MachineRecord& machine : store.machines()) {
    const auto cluster = parse_cluster(machine.cluster_toml, store.path().string() + ": a machine");
    collect(errors, cluster);
    if (cluster) machines.emplace(machine.id, *cluster);
  }
  if (!errors.empty()) return errors;
  std::vector<Trial> told = store.trials(study.id);
  std::erase_if(told, [](const Trial& trial) { return exported_rows({&trial, 1}).empty(); });
  const std::vector<RunRow> rows = exported_rows(told);
  auto runs = parse_runs(run_rows_csv(rows), store.path().string());
  if (!runs) return runs.errors();
  for (std::size_t i = 0; i < runs->size(); ++i) {
    MeasuredRun& run = (*runs)[i];
    const auto machine = machines.find(told[i].machine_id.value_or(0));
    if (machine != machines.end()) {
      run.cluster = machine->second;
      if (const Bytes memory = allowed_memory(study)) run.cluster->device.memory = memory;
    }
    if (study.kind == "sweep") {
      // The layout's own text says what a row cannot.
      if (const auto layout = parse_layout(told[i].layout)) {
        run.layout = *layout;
        run.stated = StatedSettings::all();
      }
    }
  }
  return runs;
}

Expected<std::vector<MeasuredRun>> read_stored_runs(const std::filesystem::path& path) {
  auto store = Store::open(path, Database::Mode::read);
  if (!store) return store.errors();
  std::vector<MeasuredRun> runs;
  for (const Study& study : store->studies()) {
    auto own = stored_runs(*store, study);
    if (!own) return own.errors();
    runs.insert(runs.end(), own->begin(), own->end());
  }
  return runs;
}

}  // namespace kumihimo
