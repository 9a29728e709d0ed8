# Writes OUTPUT, a C++ source with the page's script, style and planner (EmbedPage.cmake). FOLDER is
# web/, WORK a folder of the build tree for its packages, USABLE whether NODE and NPM can be used,
# PLANNER the .wasm or nothing.
set(bundle ${WORK}/dist/report.js)
set(planner ${WORK}/dist/planner.txt)
file(REMOVE ${bundle} ${planner})
if(USABLE)
  file(COPY ${FOLDER}/ DESTINATION ${WORK} PATTERN node_modules EXCLUDE PATTERN dist EXCLUDE)
  file(SHA256 ${WORK}/package-lock.json lock)
  set(installed "")
  if(EXISTS ${WORK}/installed.txt)
    file(READ ${WORK}/installed.txt installed)
  endif()
  if(NOT installed STREQUAL lock)
    execute_process(
      COMMAND ${NPM} ci --ignore-scripts --no-audit --no-fund --loglevel=error
      WORKING_DIRECTORY ${WORK} RESULT_VARIABLE result OUTPUT_QUIET ERROR_VARIABLE errors)
    if(result EQUAL 0)
      file(WRITE ${WORK}/installed.txt ${lock})
    else()
      message(WARNING "npm cannot install the page's packages: its charts will be still images\n"
                      "${errors}")
      set(USABLE OFF)
    endif()
  endif()
endif()
if(USABLE)
  execute_process(COMMAND ${NODE} build.mjs ${PLANNER} WORKING_DIRECTORY ${WORK} RESULT_VARIABLE result)
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "web/build.mjs failed")
  endif()
endif()

# As bytes: a script holds what would end any string literal.
function(read_bytes path variable)
  set(bytes "")
  if(EXISTS ${path})
    file(READ ${path} bytes HEX)
    string(REGEX REPLACE "(..)" "0x\\1," bytes "${bytes}")
    string(REGEX REPLACE "(0x0a,)" "\\1\n" bytes "${bytes}")
  endif()
  set(${variable} "${bytes}" PARENT_SCOPE)
endfunction()
read_bytes(${bundle} script_bytes)
read_bytes(${FOLDER}/src/page.css style_bytes)
read_bytes(${planner} planner_bytes)
file(WRITE ${OUTPUT} "// Generated from web/ by cmake/bundle_page.cmake.
#include \"report/embedded_page.hpp\"

namespace kumihimo {
namespace {

constexpr unsigned char script[] = {
${script_bytes}0};

constexpr unsigned char style[] = {
${style_bytes}0};

constexpr unsigned char planner[] = {
${planner_bytes}0};

}  // namespace

std::string_view page_script() {
  return {reinterpret_cast<const char*>(script), sizeof(script) - 1};
}

std::string_view page_style() { return {reinterpret_cast<const char*>(style), sizeof(style) - 1}; }

std::string_view page_planner() {
  return {reinterpret_cast<const char*>(planner), sizeof(planner) - 1};
}

}  // namespace kumihimo
")
