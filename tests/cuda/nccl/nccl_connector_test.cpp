// What the module does with NCCL and CUDA, by stand-ins for the two libraries that note what they
// are asked for: no GPU is needed.

#include <algorithm>
#include <gtest/gtest.h>
#include <nccl.h>
#include <stdexcept>
#include <string>
#include <vector>

#include "comm/nccl_module_entry.hpp"
#include "comm/world.hpp"
#include "support/lazy_gpu.hpp"

namespace {

/// What the libraries were asked for, and what they say.
struct Libraries {
  std::vector<std::string> calls;
  ncclResult_t operations = ncclSuccess;    ///< what a collective returns
  ncclResult_t communicator = ncclSuccess;  ///< what a communicator says of itself
  int most_blocks = 0;                      ///< that the last communicator may use

  ncclResult_t note(const char* call, ncclResult_t result = ncclSuccess) {
    calls.emplace_back(call);
    return result;
  }
  std::ptrdiff_t place_of(const char* call) const {
    return std::ranges::find(calls, call) - calls.begin();
  }
  bool was_asked_for(const char* call) const { return place_of(call) < std::ssize(calls); }
};

Libraries libraries;
int something;

}  // namespace

extern "C" {

ncclResult_t ncclGetVersion(int* version) {
  *version = NCCL_VERSION_CODE;
  return ncclSuccess;
}
ncclResult_t ncclGetUniqueId(ncclUniqueId* /*id*/) { return ncclSuccess; }
const char* ncclGetErrorString(ncclResult_t /*result*/) { return "an error"; }
const char* ncclGetLastError(ncclComm_t /*communicator*/) { return ""; }
ncclResult_t ncclCommInitRankConfig(ncclComm_t* communicator, int /*size*/, ncclUniqueId /*id*/,
                                    int /*rank*/, ncclConfig_t* config) {
  EXPECT_EQ(config->blocking, 0);
  libraries.most_blocks = config->maxCTAs;
  *communicator = reinterpret_cast<ncclComm_t>(&something);
  return libraries.note("init", ncclInProgress);
}
ncclResult_t ncclCommGetAsyncError(ncclComm_t /*communicator*/, ncclResult_t* state) {
  *state = libraries.communicator;
  return ncclSuccess;
}
ncclResult_t ncclCommFinalize(ncclComm_t /*communicator*/) { return libraries.note("finalize"); }
ncclResult_t ncclCommDestroy(ncclComm_t /*communicator*/) { return libraries.note("destroy"); }
ncclResult_t ncclGroupStart() { return libraries.note("group begins"); }
ncclResult_t ncclGroupEnd() { return libraries.note("group ends"); }
ncclResult_t ncclCommAbort(ncclComm_t /*communicator*/) { return libraries.note("abort"); }
ncclResult_t ncclAllReduce(const void* /*from*/, void* /*to*/, size_t /*count*/,
                           ncclDataType_t /*type*/, ncclRedOp_t /*operation*/,
                           ncclComm_t /*communicator*/, cudaStream_t /*stream*/) {
  return libraries.note("all-reduce", libraries.operations);
}
ncclResult_t ncclAllGather(const void* /*from*/, void* /*to*/, size_t /*count*/,
                           ncclDataType_t /*type*/, ncclComm_t /*communicator*/,
                           cudaStream_t /*stream*/) {
  return libraries.note("all-gather", libraries.operations);
}
ncclResult_t ncclReduceScatter(const void* /*from*/, void* /*to*/, size_t /*count*/,
                               ncclDataType_t /*type*/, ncclRedOp_t /*operation*/,
                               ncclComm_t /*communicator*/, cudaStream_t /*stream*/) {
  return libraries.note("reduce-scatter", libraries.operations);
}
ncclResult_t ncclBroadcast(const void* /*from*/, void* /*to*/, size_t /*count*/,
                           ncclDataType_t /*type*/, int /*root*/, ncclComm_t /*communicator*/,
                           cudaStream_t /*stream*/) {
  return libraries.note("broadcast", libraries.operations);
}
ncclResult_t ncclSend(const void* /*from*/, size_t /*count*/, ncclDataType_t /*type*/, int /*peer*/,
                      ncclComm_t /*communicator*/, cudaStream_t /*stream*/) {
  return libraries.note("send", libraries.operations);
}
ncclResult_t ncclRecv(void* /*to*/, size_t /*count*/, ncclDataType_t /*type*/, int /*peer*/,
                      ncclComm_t /*communicator*/, cudaStream_t /*stream*/) {
  return libraries.note("receive", libraries.operations);
}

cudaError_t cudaSetDevice(int /*device*/) { return cudaSuccess; }
const char* cudaGetErrorString(cudaError_t /*error*/) { return "an error"; }
cudaError_t cudaMallocAsync(void** data, size_t /*bytes*/, cudaStream_t /*stream*/) {
  *data = &something;
  return cudaSuccess;
}
cudaError_t cudaFreeAsync(void* /*data*/, cudaStream_t /*stream*/) {
  libraries.note("free");
  return cudaSuccess;
}

/// The module's entry, which the program finds by its name.
#if defined(__clang__)
#pragma clang diagnostic ignored "-Wreturn-type-c-linkage"
#endif
std::shared_ptr<kumihimo::GpuConnector> kumihimo_nccl_connector(const char* version,
                                                                kumihimo::Errors& faults);
}

namespace kumihimo {
namespace {

class NcclConnectorTest : public ::testing::Test {
 protected:
  void SetUp() override {
    libraries = {};
    Errors faults;
    connector = kumihimo_nccl_connector(KUMIHIMO_VERSION, faults);
    ASSERT_TRUE(connector);
  }
  std::unique_ptr<GpuCommunicator> join(
      std::function<void(double)> watch = [](double) {}, Traffic traffic = Traffic::collectives) {
    const std::vector<std::byte> id = connector->new_id();
    return connector->join(id, 0, 2, gpu, gpu.queue(), traffic, std::move(watch));
  }

  testing::LazyGpu gpu{0};
  std::shared_ptr<GpuConnector> connector;
  float number = 1;
  Matrix x = matrix_at(&number, 1, 1, DType::fp32);
};

TEST_F(NcclConnectorTest, LeavesInOrder) {
  join()->all_reduce(x, Reduction::sum);
  EXPECT_EQ(libraries.calls,
            (std::vector<std::string>{"init", "all-reduce", "finalize", "destroy", "free"}));
}

/// A pipeline's send waits for its receiver while the rank computes.
TEST_F(NcclConnectorTest, LeavesMostOfTheGpuToOthersWhereAMessageMayWait) {
  join();
  EXPECT_EQ(libraries.most_blocks, NCCL_CONFIG_UNDEF_INT);  // NCCL knows best
  join([](double) {}, Traffic::messages);
  EXPECT_EQ(libraries.most_blocks, 8);
}

/// NCCL connects ranks at the first operation that needs it, and waits there for a peer that may be
/// gone by then.
TEST_F(NcclConnectorTest, LooksAfterTheJobWhileAnOperationWaitsForAPeer) {
  int watched = 0;
  const auto communicator = join([&](double waited_s) {
    EXPECT_GE(waited_s, 0);
    if (++watched > 10) throw PeerFailure("rank 1 is gone");
  });
  const int at_first = watched;
  libraries.operations = libraries.communicator = ncclInProgress;
  EXPECT_THROW(communicator->send(x, 1), PeerFailure);
  EXPECT_GT(watched, at_first);
  libraries.communicator = ncclSuccess;
}

/// Giving memory back can wait for all that the GPU has under way, and an operation whose peer is
/// gone ends by being aborted only.
TEST_F(NcclConnectorTest, AbortsBeforeItGivesMemoryBackWhereAnExceptionEndsIt) {
  EXPECT_THROW(
      {
        const auto communicator = join();
        communicator->all_reduce(x, Reduction::sum);
        throw std::runtime_error("this rank fails");
      },
      std::runtime_error);
  EXPECT_FALSE(libraries.was_asked_for("finalize"));
  ASSERT_TRUE(libraries.was_asked_for("abort"));
  EXPECT_LT(libraries.place_of("abort"), libraries.place_of("free"));
}

TEST_F(NcclConnectorTest, AbortsWhenItIsGivenUpWhileItIsMade) {
  libraries.communicator = ncclInProgress;
  EXPECT_THROW(join([](double) { throw PeerFailure("nobody comes"); }), PeerFailure);
  EXPECT_EQ(libraries.calls, (std::vector<std::string>{"init", "abort"}));
}

/// An abort waits for the GPU, and so for the communicators that are still to be aborted.
TEST_F(NcclConnectorTest, AbortsAllAtOnce) {
  const std::vector<std::shared_ptr<GpuCommunicator>> all{join(), join()};
  libraries.calls.clear();
  connector->break_off(all);
  EXPECT_EQ(libraries.calls,
            (std::vector<std::string>{"group begins", "abort", "abort", "group ends"}));
}

TEST_F(NcclConnectorTest, IsUselessOnceBrokenOff) {
  const auto communicator = join();
  communicator->break_off();
  EXPECT_THROW(communicator->all_reduce(x, Reduction::sum), PeerFailure);
  communicator->check();
  EXPECT_FALSE(libraries.was_asked_for("all-reduce"));
}

}  // namespace
}  // namespace kumihimo
