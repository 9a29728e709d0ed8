#include "comm/tcp/tcp_place.hpp"

#include <charconv>
#include <cstdlib>
#include <fmt/format.h>
#include <limits>

namespace kumihimo {
namespace {

constexpr int usual_port = 29500;  // torchrun's
constexpr int most_ranks = 65536;
constexpr int last_port = 65535;

/// Reads whole numbers of the first variable that is set, and collects what is wrong.
class Reader {
 public:
  Reader(const Environment& environment, Errors& faults)
      : environment_(environment), faults_(faults) {}

  std::optional<int> whole(std::initializer_list<const char*> names, int least, int most) const {
    for (const char* name : names) {
      const auto text = environment_(name);
      if (!text) continue;
      int value = 0;
      const char* end = text->data() + text->size();
      const auto [stop, error] = std::from_chars(text->data(), end, value);
      if (error == std::errc() && stop == end && value >= least && value <= most) return value;
      faults_.push_back({name, fmt::format("is \"{}\"", text->substr(0, 40)),
                         fmt::format("set it to a whole number from {} to {}", least, most)});
      return std::nullopt;
    }
    return std::nullopt;
  }

  /// The same; it must be there.
  int needed(std::initializer_list<const char*> names, int least, int most) const {
    const std::size_t before = faults_.size();
    const auto value = whole(names, least, most);
    if (!value && faults_.size() == before) {
      faults_.push_back({*names.begin(), "is not set",
                         "start the processes with torchrun or srun, or set RANK, WORLD_SIZE, "
                         "MASTER_ADDR and MASTER_PORT for each"});
    }
    return value.value_or(0);
  }

 private:
  const Environment& environment_;
  Errors& faults_;
};

}  // namespace

Environment process_environment() {
  return [](const char* name) -> std::optional<std::string> {
    const char* value = std::getenv(name);
    return value == nullptr ? std::nullopt : std::optional<std::string>(value);
  };
}

bool names_a_tcp_job(const Environment& environment) {
  return environment("RANK") && environment("WORLD_SIZE") && environment("MASTER_ADDR");
}

Expected<TcpPlace> read_tcp_place(const Environment& environment) {
  Errors faults;
  const Reader reader(environment, faults);
  TcpPlace place;
  place.size = reader.needed({"WORLD_SIZE", "SLURM_NTASKS"}, 1, most_ranks);
  place.rank = reader.needed({"RANK", "SLURM_PROCID"}, 0, most_ranks - 1);
  place.local_rank =
      reader.whole({"LOCAL_RANK", "SLURM_LOCALID"}, 0, most_ranks - 1).value_or(place.rank);
  if (faults.empty() && place.rank >= place.size) {
    faults.push_back({"RANK", fmt::format("is {} of a world of {}", place.rank, place.size),
                      "number the processes from 0"});
  }
  if (const auto host = environment("MASTER_ADDR")) {
    place.host = *host;
  } else {
    auto nodes = environment("SLURM_STEP_NODELIST");
    if (!nodes) nodes = environment("SLURM_JOB_NODELIST");
    if (nodes) place.host = first_of_node_list(*nodes);
  }
  if (place.host.empty()) {
    faults.push_back({"MASTER_ADDR", "is not set", "name the machine of rank 0"});
  }
  // Two jobs of one machine shall not meet.
  constexpr int first_of_slurm = 20000, ports_of_slurm = 9000;
  const auto job = reader.whole({"SLURM_JOB_ID"}, 0, std::numeric_limits<int>::max());
  place.port = reader.whole({"MASTER_PORT"}, 1, last_port)
                   .value_or(job ? first_of_slurm + *job % ports_of_slurm : usual_port);
  if (!faults.empty()) return faults;
  return place;
}

std::string first_of_node_list(const std::string& list) {
  const std::size_t bracket = list.find('[');
  const std::size_t comma = list.find(',');
  if (bracket == std::string::npos || comma < bracket) return list.substr(0, comma);
  const std::size_t end = list.find_first_of("-,]", bracket);
  const std::size_t close = list.find(']', bracket);
  if (end == std::string::npos || close == std::string::npos) return "";
  const std::size_t after = list.find(',', close);
  const std::string suffix =
      list.substr(close + 1, after == std::string::npos ? std::string::npos : after - close - 1);
  return list.substr(0, bracket) + list.substr(bracket + 1, end - bracket - 1) + suffix;
}

}  // namespace kumihimo
