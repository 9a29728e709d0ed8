#pragma once

#include <string>

#include "cluster/cluster.hpp"
#include "tensor/gpu.hpp"

namespace kumihimo {

/// What this machine's processors, memory and threads do, measured in about two seconds.
struct MachineFigures {
  std::string processor;  ///< as the system names it
  int cores = 1;
  Bytes memory = 0;
  double fp32_flop_per_s = 0;  ///< of one core, in large matrix products of the engine
  double bf16_flop_per_s = 0;
  double fp8_flop_per_s = 0;     ///< of a GPU that has it
  double core_bandwidth = 0;     ///< bytes/s read and written by one core beyond the caches
  double message_bandwidth = 0;  ///< bytes/s that one rank sends while it receives as much
  double message_latency_s = 0;
};

/// The same of a GPU, whose link is left out: `cores` is 1. Products run as libraries run them;
/// memory is copied from one place of the GPU to another.
MachineFigures measure_gpu(Gpu& gpu);

/// A node of `gpus` GPUs like this one, connected by `link`.
Cluster cluster_of_gpus(const MachineFigures& figures, const GpuFacts& facts, int gpus,
                        const Link& link);

/// Rates of `ranks` ranks that are threads share the cores among them. Throws what the kernels
/// throw.
MachineFigures measure_machine(int ranks);

/// What must stay the same for a measurement to hold: processor, cores, memory, ranks, back end.
std::string machine_fingerprint(int ranks);

/// The machine as a cluster of one node whose devices are `ranks` ranks: more ranks than cores
/// share their rates. `device_memory`: of a rank; 0: an equal part of the machine's.
Cluster cluster_of(const MachineFigures& figures, int ranks, Bytes device_memory);

}  // namespace kumihimo
