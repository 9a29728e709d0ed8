# The CUDA back end: modules that the program loads when a GPU is asked for, so that nothing else
# needs NVIDIA's libraries (src/tensor/cuda_module_entry.hpp says why). Without the toolkit, or
# without one of its libraries, the twins no_cuda and no_nccl stand in.
#   KUMIHIMO_CUDA_BACKEND  cuda_module (libkumihimo_cuda.so: src/tensor/cuda) or no_cuda
#   KUMIHIMO_NCCL_BACKEND  nccl_module (libkumihimo_nccl.so: src/comm/nccl) or no_nccl
set(KUMIHIMO_CUDA AUTO CACHE STRING
    "Build the CUDA back end: AUTO (where a toolkit is found), ON (it must be), OFF")
set_property(CACHE KUMIHIMO_CUDA PROPERTY STRINGS AUTO ON OFF)
# Real code for each: A100 (and everything else of 8.x), H100 and H200, B200. No PTX: a GPU that is
# missing here is told so.
set(KUMIHIMO_CUDA_ARCHITECTURES "80-real;90a-real;100a-real" CACHE STRING
    "GPU architectures to compile for, as CMAKE_CUDA_ARCHITECTURES")
option(KUMIHIMO_CUDNN "Use cuDNN's attention in the CUDA back end, where found" ON)
option(KUMIHIMO_NCCL "Use NCCL between GPUs, where found" ON)

set(KUMIHIMO_CUDA_BACKEND no_cuda)
set(KUMIHIMO_NCCL_BACKEND no_nccl)
set(KUMIHIMO_MODULES "")

macro(kumihimo_without_cuda reason)
  if(KUMIHIMO_CUDA STREQUAL "ON")
    message(FATAL_ERROR "KUMIHIMO_CUDA=ON, but ${reason}")
  endif()
  message(STATUS "CUDA back end: left out, ${reason}")
endmacro()

if(KUMIHIMO_CUDA STREQUAL "OFF")
  message(STATUS "CUDA back end: left out, KUMIHIMO_CUDA=OFF")
  return()
endif()
find_program(KUMIHIMO_NVCC nvcc HINTS ENV CUDACXX ENV CUDA_HOME ENV CUDA_PATH
             PATHS /usr/local/cuda PATH_SUFFIXES bin)
if(NOT KUMIHIMO_NVCC)
  kumihimo_without_cuda("no nvcc in PATH, CUDA_HOME or /usr/local/cuda")
  return()
endif()
if(NOT CMAKE_CUDA_COMPILER)
  set(CMAKE_CUDA_COMPILER ${KUMIHIMO_NVCC})
endif()
set(CMAKE_CUDA_ARCHITECTURES ${KUMIHIMO_CUDA_ARCHITECTURES})
if(CCACHE AND NOT CMAKE_CUDA_COMPILER_LAUNCHER)
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${CCACHE})
endif()
include(CheckLanguage)
check_language(CUDA)
if(NOT CMAKE_CUDA_COMPILER)
  kumihimo_without_cuda("${KUMIHIMO_NVCC} does not compile with this host compiler")
  return()
endif()
enable_language(CUDA)
find_package(CUDAToolkit 13 QUIET)
if(NOT CUDAToolkit_FOUND OR NOT TARGET CUDA::cublasLt)
  kumihimo_without_cuda("the toolkit at ${KUMIHIMO_NVCC} is older than 13 or lacks cuBLASLt")
  return()
endif()

set(KUMIHIMO_CUDA_BACKEND cuda_module)
list(APPEND KUMIHIMO_MODULES kumihimo_cuda)
# Where the program looks for its modules: beside its libraries once installed.
set(CMAKE_BUILD_RPATH ${CMAKE_BINARY_DIR})
set(CMAKE_INSTALL_RPATH "$ORIGIN/../${CMAKE_INSTALL_LIBDIR}/kumihimo")

function(kumihimo_find_nvidia_library name header library)
  find_path(${name}_INCLUDE_DIR ${header} HINTS ${CUDAToolkit_INCLUDE_DIRS})
  find_library(${name}_LIBRARY ${library} HINTS ${CUDAToolkit_LIBRARY_DIR})
endfunction()
set(KUMIHIMO_CUDNN_BACKEND no_cudnn)
kumihimo_find_nvidia_library(CUDNN cudnn_graph.h cudnn)
if(KUMIHIMO_CUDNN AND CUDNN_INCLUDE_DIR AND CUDNN_LIBRARY)
  set(KUMIHIMO_CUDNN_BACKEND cudnn)
endif()
kumihimo_find_nvidia_library(NCCL nccl.h nccl)
if(KUMIHIMO_NCCL AND NCCL_INCLUDE_DIR AND NCCL_LIBRARY)
  set(KUMIHIMO_NCCL_BACKEND nccl_module)
  list(APPEND KUMIHIMO_MODULES kumihimo_nccl)
endif()
list(JOIN KUMIHIMO_CUDA_ARCHITECTURES ", " architectures)
message(STATUS "CUDA back end: ${CMAKE_CUDA_COMPILER_VERSION} for ${architectures}, "
               "${KUMIHIMO_CUDNN_BACKEND}, ${KUMIHIMO_NCCL_BACKEND}")

# kumihimo_module(<name> <libraries> SOURCES <patterns>)
function(kumihimo_module name)
  cmake_parse_arguments(ARG "" "" "LINK;SOURCES;INCLUDE" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${ARG_SOURCES})
  add_library(${name} MODULE ${sources})
  kumihimo_compile_settings(${name})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/src)
  target_include_directories(${name} SYSTEM PRIVATE ${ARG_INCLUDE} ${CUDAToolkit_INCLUDE_DIRS})
  target_compile_definitions(${name} PRIVATE KUMIHIMO_VERSION="${PROJECT_VERSION}")
  # Only the entry is to be seen: the program has its own copies of the libraries below.
  target_link_options(${name} PRIVATE -Wl,--no-undefined -Wl,--exclude-libs,ALL)
  target_link_libraries(${name} PRIVATE ${ARG_LINK})
  set_target_properties(${name} PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}
                        CXX_VISIBILITY_PRESET hidden CUDA_VISIBILITY_PRESET hidden
                        VISIBILITY_INLINES_HIDDEN ON INSTALL_RPATH_USE_LINK_PATH ON)
  # CMake 3.22 does not know that nvcc has C++20. Kernels call constexpr functions of the host.
  target_compile_options(${name} PRIVATE
    "$<$<COMPILE_LANGUAGE:CUDA>:-std=c++20;--expt-relaxed-constexpr>")
  install(TARGETS ${name} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/kumihimo)
endfunction()

# After the libraries: the modules link to some.
function(kumihimo_modules)
  if(KUMIHIMO_CUDA_BACKEND STREQUAL cuda_module)
    set(folder ${PROJECT_SOURCE_DIR}/src/tensor/cuda)
    set(attention_library "")
    if(KUMIHIMO_CUDNN_BACKEND STREQUAL "cudnn")
      set(attention_library ${CUDNN_LIBRARY})
    endif()
    kumihimo_module(kumihimo_cuda
      SOURCES ${folder}/*.cpp ${folder}/*.cu ${folder}/simt/*.cu
              ${folder}/${KUMIHIMO_CUDNN_BACKEND}/*.cpp
      INCLUDE ${CUDNN_INCLUDE_DIR}
      LINK kumihimo_tensor fmt::fmt CUDA::cudart CUDA::cublasLt ${attention_library})
  endif()
  if(KUMIHIMO_NCCL_BACKEND STREQUAL nccl_module)
    kumihimo_module(kumihimo_nccl
      SOURCES ${PROJECT_SOURCE_DIR}/src/comm/nccl/*.cpp
      INCLUDE ${NCCL_INCLUDE_DIR}
      LINK kumihimo_comm fmt::fmt CUDA::cudart ${NCCL_LIBRARY})
  endif()
  # Loaded, not linked: who builds the program wants them too.
  if(KUMIHIMO_MODULES)
    add_dependencies(kumihimo ${KUMIHIMO_MODULES})
  endif()
endfunction()
