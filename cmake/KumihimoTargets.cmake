# kumihimo_library(<folder> PUBLIC <folders and packages> PRIVATE <packages> BACKENDS <subfolders>)
#
# The library kumihimo_<folder> of all sources in src/<folder>. Sources are globbed: a new file
# needs no edit here, and every file of a folder belongs to its target by definition. A back end
# that depends on a package is a subfolder; its twin no_<name> stands in where that is missing, so
# that callers need no #ifdef.
function(kumihimo_library folder)
  cmake_parse_arguments(ARG "" "" "PUBLIC;PRIVATE;BACKENDS" ${ARGN})
  set(patterns ${PROJECT_SOURCE_DIR}/src/${folder}/*.cpp)
  foreach(backend IN LISTS ARG_BACKENDS)
    list(APPEND patterns ${PROJECT_SOURCE_DIR}/src/${folder}/${backend}/*.cpp)
  endforeach()
  file(GLOB sources CONFIGURE_DEPENDS ${patterns})
  if(sources)
    set(scope PUBLIC)
    add_library(kumihimo_${folder} STATIC ${sources})
  else()
    set(scope INTERFACE)
    add_library(kumihimo_${folder} INTERFACE)
  endif()
  foreach(dependency IN LISTS ARG_PUBLIC)
    if(TARGET ${dependency})
      target_link_libraries(kumihimo_${folder} ${scope} ${dependency})
    else()
      target_link_libraries(kumihimo_${folder} ${scope} kumihimo_${dependency})
    endif()
  endforeach()
  if(sources)
    target_link_libraries(kumihimo_${folder} PRIVATE ${ARG_PRIVATE})
    kumihimo_compile_settings(kumihimo_${folder})
  endif()
  target_include_directories(kumihimo_${folder} ${scope} ${PROJECT_SOURCE_DIR}/src)
endfunction()

# The warnings and language level of all our own code.
function(kumihimo_compile_settings target)
  target_compile_features(${target} PUBLIC cxx_std_20)
  set_target_properties(${target} PROPERTIES CXX_EXTENSIONS OFF POSITION_INDEPENDENT_CODE ON)
  set(warnings -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion
      -Wno-missing-field-initializers)
  # nvcc writes C++ of its own.
  target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:${warnings}>)
  # g++ 12 sees overlaps in std::string where there are none (its bug 105651).
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-Wno-restrict>)
  endif()
endfunction()
