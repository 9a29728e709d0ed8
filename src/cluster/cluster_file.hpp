#pragma once

#include <string>
#include <string_view>

#include "base/error.hpp"
#include "cluster/cluster.hpp"

namespace kumihimo {

/// The cluster that a TOML text describes (docs/clusters.md lists the keys). `where` names the file
/// in messages. All faults at once: unknown and missing keys, quantities without unit, wrong types
/// and values beyond any machine, each with its dotted key; a syntax error with line and column.
Expected<Cluster> parse_cluster(std::string_view text, std::string_view where);

/// A cluster by path (an existing file, or anything with a '/' or ending in .toml), by catalog name
/// or by one of the aliases, letter case aside. Reading by alias parses the whole catalog: keep the
/// result. An unknown name gives the nearest known one.
Expected<Cluster> read_cluster(std::string_view name_or_path);

/// TOML text that parse_cluster reads back to the same value. Money is written in USD, since a
/// Cluster keeps a bare amount.
std::string write_cluster(const Cluster& cluster);

}  // namespace kumihimo
