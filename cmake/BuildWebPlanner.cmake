# kumihimo_web_planner(<variable> <folder>)
#
# Compiles the planner to WebAssembly with Emscripten, for the page's what-if, and sets <variable> to
# the path of the .wasm that the build makes; to nothing where Emscripten is not found, and then the
# page says so. <folder> (web/what_if) holds its entry and what Emscripten's C++ library lacks.
#
# What catalogs, files and TOML need is left out: the page carries what it plans as JSON. A source
# that is missing here fails the link by name.
option(KUMIHIMO_WHAT_IF "Compile the planner into the report's page, where em++ is found" ON)

function(kumihimo_web_planner variable folder)
  set(${variable} "" PARENT_SCOPE)
  if(NOT KUMIHIMO_WHAT_IF)
    return()
  endif()
  find_program(EMXX em++)
  if(NOT EMXX)
    message(STATUS "Report page: no Emscripten (em++); it will not plan anew")
    return()
  endif()
  # A package of another release may lack what it links with: then it is as if it were not there.
  set(work ${CMAKE_CURRENT_BINARY_DIR}/what_if)
  if(NOT DEFINED KUMIHIMO_EMXX_WORKS)
    file(WRITE ${work}/probe.cpp
         "#include <concepts>\n#include <string>\nstd::string text;\nextern \"C\" int probe() { return text.size(); }\n")
    execute_process(COMMAND ${EMXX} -std=c++20 ${work}/probe.cpp -o ${work}/probe.wasm --no-entry
                            -s STANDALONE_WASM -s EXPORTED_FUNCTIONS=_probe
                    RESULT_VARIABLE result OUTPUT_QUIET ERROR_VARIABLE errors)
    if(result EQUAL 0)
      set(works ON)
    else()
      set(works OFF)
      message(STATUS "Report page: ${EMXX} does not work; it will not plan anew\n${errors}")
    endif()
    set(KUMIHIMO_EMXX_WORKS ${works} CACHE INTERNAL "Whether em++ compiles and links")
  endif()
  if(NOT KUMIHIMO_EMXX_WORKS)
    return()
  endif()
  find_path(FMT_HEADERS fmt/format.h)
  find_path(JSON_HEADERS nlohmann/json.hpp)

  # Not -I/usr/include: that would hand the machine's own C library to another machine's compiler.
  file(MAKE_DIRECTORY ${work}/include)
  file(CREATE_LINK ${FMT_HEADERS}/fmt ${work}/include/fmt SYMBOLIC)
  file(CREATE_LINK ${JSON_HEADERS}/nlohmann ${work}/include/nlohmann SYMBOLIC)

  set(patterns ${folder}/*.cpp)
  foreach(part base model cluster layout schedule cost simulator search what_if)
    list(APPEND patterns ${PROJECT_SOURCE_DIR}/src/${part}/*.cpp)
  endforeach()
  file(GLOB sources CONFIGURE_DEPENDS ${patterns})
  list(FILTER sources EXCLUDE REGEX
       "/(base/(catalog|csv|error|files|json_document|process_identity)|model/(.*config.*|model_catalog)|cluster/(cluster_|table_|toml_).*|cost/(stack_choice|stack_profile_file)|simulator/(explain|timeline|trace.*)|search/(best_by_needs|neighbours)|what_if/controls)\\.cpp$")

  set(objects "")
  foreach(source IN LISTS sources)
    file(RELATIVE_PATH name ${PROJECT_SOURCE_DIR} ${source})
    string(REPLACE / _ name ${name})
    set(object ${work}/${name}.o)
    # FMT_STATIC_THOUSANDS_SEPARATOR: without locales, which weigh a quarter of it.
    add_custom_command(
      OUTPUT ${object}
      COMMAND ${CMAKE_CXX_COMPILER_LAUNCHER} ${EMXX} -std=c++20 -Oz -DFMT_HEADER_ONLY
              "-DFMT_STATIC_THOUSANDS_SEPARATOR=','" -I${folder}/library
              -I${PROJECT_SOURCE_DIR}/src -isystem ${work}/include -Wall -Wextra
              -Wno-missing-field-initializers -MD -MF ${object}.d -c ${source} -o ${object}
      DEPENDS ${source} DEPFILE ${object}.d
      COMMENT "Compiling ${name} for the page" VERBATIM)
    list(APPEND objects ${object})
  endforeach()
  # Nothing may throw: a throw ends the module, and its page says that it is our mistake.
  set(planner ${work}/planner.wasm)
  add_custom_command(
    OUTPUT ${planner}
    COMMAND ${EMXX} -Oz ${objects} -o ${planner} --no-entry -s STANDALONE_WASM
            -s ALLOW_MEMORY_GROWTH=1 -s EXPORTED_FUNCTIONS=_kumihimo_request,_kumihimo_answer
            --js-library ${folder}/imports.js
    DEPENDS ${objects} ${folder}/imports.js
    COMMENT "Linking the page's planner" VERBATIM)
  set(${variable} ${planner} PARENT_SCOPE)
endfunction()
