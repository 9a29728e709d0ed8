# What the engine can use on this machine. A missing package costs a back end, never the build.
#   KUMIHIMO_CPU_BACKEND   cpu (oneDNN, Highway, OpenMP) or no_cpu
#   KUMIHIMO_MPI_BACKEND   mpi or no_mpi
#   KUMIHIMO_CUDA_BACKEND  cuda_module or no_cuda (cmake/CudaModules.cmake)
#   KUMIHIMO_NCCL_BACKEND  nccl_module or no_nccl
#   kumihimo_xxhash        checksums of saved states (needed)
option(KUMIHIMO_CPU "Use oneDNN and Highway for the engine's CPU kernels, where found" ON)
option(KUMIHIMO_MPI "Use MPI, where found" ON)

# oneDNN's own package file asks for OpenCL; its header and library do not.
find_path(DNNL_INCLUDE_DIR oneapi/dnnl/dnnl.hpp)
find_library(DNNL_LIBRARY dnnl)
find_path(HWY_INCLUDE_DIR hwy/highway.h)
find_library(HWY_LIBRARY hwy)
find_package(OpenMP COMPONENTS CXX QUIET)
if(KUMIHIMO_CPU AND DNNL_INCLUDE_DIR AND DNNL_LIBRARY AND HWY_INCLUDE_DIR AND HWY_LIBRARY
   AND OpenMP_CXX_FOUND)
  set(KUMIHIMO_CPU_BACKEND cpu)
  add_library(kumihimo_dnnl INTERFACE)
  target_include_directories(kumihimo_dnnl SYSTEM INTERFACE ${DNNL_INCLUDE_DIR} ${HWY_INCLUDE_DIR})
  target_link_libraries(kumihimo_dnnl INTERFACE ${DNNL_LIBRARY} ${HWY_LIBRARY} OpenMP::OpenMP_CXX)
  set(KUMIHIMO_CPU_PACKAGES kumihimo_dnnl)
else()
  set(KUMIHIMO_CPU_BACKEND no_cpu)
  set(KUMIHIMO_CPU_PACKAGES)
endif()

set(KUMIHIMO_MPI_BACKEND no_mpi)
set(KUMIHIMO_MPI_PACKAGES)
if(KUMIHIMO_MPI)
  find_package(MPI COMPONENTS CXX QUIET)
  if(MPI_CXX_FOUND)
    set(KUMIHIMO_MPI_BACKEND mpi)
    set(KUMIHIMO_MPI_PACKAGES MPI::MPI_CXX)
  endif()
endif()

find_path(XXHASH_INCLUDE_DIR xxhash.h REQUIRED)
add_library(kumihimo_xxhash INTERFACE)
target_include_directories(kumihimo_xxhash SYSTEM INTERFACE ${XXHASH_INCLUDE_DIR})

include(CudaModules)

message(STATUS "Engine back ends: ${KUMIHIMO_CPU_BACKEND}, ${KUMIHIMO_MPI_BACKEND}, "
               "${KUMIHIMO_CUDA_BACKEND}, ${KUMIHIMO_NCCL_BACKEND}")
