#pragma once

#include <chrono>
#include <vector>

#include "comm/tcp/socket.hpp"
#include "comm/tcp/tcp_place.hpp"

namespace kumihimo {

/// The processes of a job did not find each other.
class RendezvousFailure : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Connects this process with every other of the job: one socket for each rank, none for its own.
/// Called by all. Throws RendezvousFailure, on every rank that could be reached, when a rank does
/// not come in time, the port is taken, a rank comes twice, or ranks disagree on their number.
/// Whoever else connects and does not speak as a rank does is sent away.
std::vector<Socket> meet(const TcpPlace& place, std::chrono::milliseconds timeout);

}  // namespace kumihimo
