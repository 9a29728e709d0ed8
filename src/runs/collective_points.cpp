#include "runs/collective_points.hpp"

#include <cmath>
#include <sstream>

namespace kumihimo {
namespace {

std::optional<CollectiveKind> named_kind(std::string_view text) {
  const auto has = [&](std::string_view word) { return text.find(word) != std::string_view::npos; };
  if (has("all_reduce") || has("AllReduce") || has("Allreduce")) return CollectiveKind::all_reduce;
  if (has("all_gather") || has("AllGather") || has("Allgather")) return CollectiveKind::all_gather;
  if (has("reduce_scatter") || has("ReduceScatter") || has("Reduce_scatter")) {
    return CollectiveKind::reduce_scatter;
  }
  if (has("sendrecv") || has("SendRecv") || has("Latency Test") || has("latency")) {
    return CollectiveKind::send_receive;
  }
  return std::nullopt;
}

std::vector<double> numbers_of(const std::string& line) {
  constexpr double largest = 1e15;  // no NaN, no infinity
  std::istringstream words(line);
  std::vector<double> numbers;
  for (std::string word; words >> word;) {
    try {
      std::size_t end = 0;
      const double value = std::stod(word, &end);
      if (end == word.size() && std::abs(value) < largest) numbers.push_back(value);
    } catch (const std::exception&) {  // a word, such as "float" or "sum"
    }
  }
  return numbers;
}

}  // namespace

std::string_view to_string(CollectiveKind kind) {
  switch (kind) {
    case CollectiveKind::all_reduce: return "all-reduce";
    case CollectiveKind::all_gather: return "all-gather";
    case CollectiveKind::reduce_scatter: return "reduce-scatter";
    case CollectiveKind::send_receive: return "send and receive";
    case CollectiveKind::none: break;
  }
  return "none";
}

Expected<std::vector<CollectivePoint>> parse_collectives(std::string_view text,
                                                         std::string_view where,
                                                         std::optional<int> ranks) {
  std::optional<CollectiveKind> kind;
  const bool osu = text.find("OSU MPI") != std::string_view::npos;
  int listed = 0;
  std::vector<CollectivePoint> points;
  std::istringstream lines{std::string(text)};
  for (std::string line; std::getline(lines, line);) {
    if (!kind) kind = named_kind(line);
    if (line.starts_with("#")) {
      // nccl-tests lists its ranks: "#  Rank  0 Group  0 Pid ..."
      listed += line.find(" Rank ") != std::string::npos && line.find(" Pid ") != std::string::npos;
      continue;
    }
    const std::vector<double> numbers = numbers_of(line);
    // nccl-tests: size count (type redop) root time ...; OSU: size microseconds.
    const std::size_t time = osu ? 1 : 3;
    if (numbers.size() <= time || !(numbers[0] > 0) || !(numbers[time] > 0)) continue;
    points.push_back({.bytes = numbers[0], .seconds = numbers[time] * 1e-6});
  }
  const std::string at(where);
  if (!kind || points.empty()) {
    return Error{at, "holds no output of nccl-tests or OSU micro-benchmarks",
                 "give what all_reduce_perf or osu_allreduce printed, header included"};
  }
  const bool pair = osu && *kind == CollectiveKind::send_receive;
  const int count = pair ? 2 : listed > 1 ? listed : ranks.value_or(0);
  if (count < 2) {
    return Error{at, "does not say among how many ranks", "give --collective-ranks"};
  }
  for (CollectivePoint& point : points) {
    point.kind = *kind;
    point.ranks = count;
    // OSU counts what each rank gives.
    if (osu && *kind == CollectiveKind::all_gather) point.bytes *= count;
  }
  return points;
}

}  // namespace kumihimo
