#pragma once

// The kernels exist twice: compiled for a GPU in kumihimo::cuda, and by the tests for an emulation
// of one in kumihimo::emulated_cuda, so that a program may hold both.

#ifdef KUMIHIMO_EMULATED_CUDA  // tests/CMakeLists.txt
#define KUMIHIMO_CUDA_NAMESPACE kumihimo::emulated_cuda
#else
#define KUMIHIMO_CUDA_NAMESPACE kumihimo::cuda
#endif
