# kumihimo_embed_page(<target> <folder> [<planner>])
#
# Adds to <target> a generated source with the script and style of the report's page and with its
# planner, the .wasm that kumihimo_web_planner makes. The script is bundled from <folder> (web/) by npm and esbuild in the build tree; src/report/embedded_page.hpp
# declares it. Without Node.js 18 and npm, or where npm cannot fetch the packages of
# package-lock.json, the script is empty, the build says so, and so does every page.
option(KUMIHIMO_PAGE "Bundle the script of the report's page, where Node.js and npm are found" ON)

function(kumihimo_embed_page target folder)
  set(work ${CMAKE_CURRENT_BINARY_DIR}/web)
  set(script ${PROJECT_SOURCE_DIR}/cmake/bundle_page.cmake)
  set(output ${CMAKE_CURRENT_BINARY_DIR}/embedded_page.cpp)
  find_program(NODE node)
  find_program(NPM npm)
  set(usable OFF)
  if(KUMIHIMO_PAGE AND NODE AND NPM)
    execute_process(COMMAND ${NODE} --version OUTPUT_VARIABLE version
                    OUTPUT_STRIP_TRAILING_WHITESPACE)
    string(REGEX REPLACE "^v([0-9]+).*" "\\1" major "${version}")
    if(major GREATER_EQUAL 18)
      set(usable ON)
    endif()
  endif()
  if(NOT usable)
    message(STATUS "Report page: no Node.js 18 with npm; its charts will be still images")
  endif()
  file(GLOB sources CONFIGURE_DEPENDS ${folder}/src/* ${folder}/test/*
       ${folder}/*.json ${folder}/build.mjs)
  add_custom_command(
    OUTPUT ${output}
    COMMAND ${CMAKE_COMMAND} -DFOLDER=${folder} -DWORK=${work} -DOUTPUT=${output} -DUSABLE=${usable}
            -DNODE=${NODE} -DNPM=${NPM} -DPLANNER=${ARGN} -P ${script}
    DEPENDS ${sources} ${script} ${ARGN}
    COMMENT "Bundling the report's page" VERBATIM)
  target_sources(${target} PRIVATE ${output})
endfunction()
