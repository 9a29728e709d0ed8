#pragma once

#include <span>
#include <vector>

#include "cluster/cluster.hpp"

namespace kumihimo {

// How long communication takes on the links of a cluster, alone on them. Collectives run on
// bandwidth-optimal rings (Patarasuk & Yuan 2009, doi:10.1016/j.jpdc.2008.09.002): in every step
// each member passes a piece of bytes / members to the next, over the link that bounds the ring.

/// The link that bounds a ring through `ranks` (ascending), which fill the nodes in order:
/// slowest_link (cluster/topology.hpp) for the nodes that these ranks lie on.
Link ring_link(const Cluster& cluster, std::span<const int> ranks);

/// The link between two ranks: intra_node (of a mesh, their own) or inter_node.
Link link_between(const Cluster& cluster, int rank, int other);

/// (members - 1) (latency + bytes / members / bandwidth). `bytes`: of the whole.
double all_gather_time_s(const Link& link, int members, double bytes);
/// The same: each piece collects a sum on its way round.
double reduce_scatter_time_s(const Link& link, int members, double bytes);
/// One after the other: 2 (members - 1) steps.
double all_reduce_time_s(const Link& link, int members, double bytes);
/// A chain, the data in so many pieces that they follow closely: (members - 1) latency
/// + bytes / bandwidth.
double broadcast_time_s(const Link& link, int members, double bytes);
/// Dissemination (Hensgen, Finkel & Manber 1988): ceil(log2 members) latency.
double barrier_time_s(const Link& link, int members);

/// The links from one rank to all others. Messages to one receiver pass its link one after the
/// other; links to different receivers do not disturb each other.
class OutgoingLinks {
 public:
  OutgoingLinks(const Cluster& cluster, int rank, int ranks)
      : cluster_(cluster), rank_(rank), free_at_s_(static_cast<std::size_t>(ranks)) {}

  /// When a message that is started at `start_s` arrives: it occupies the link for bytes/bandwidth
  /// as soon as the link is free, and is there a latency later.
  double arrival_s(int receiver, double bytes, double start_s);

 private:
  const Cluster& cluster_;
  int rank_;
  std::vector<double> free_at_s_;  ///< by receiver
};

}  // namespace kumihimo
