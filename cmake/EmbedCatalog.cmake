# kumihimo_embed_catalog(<target> <folder>)
#
# Adds to <target> a generated source that holds every file of catalog/{models,clusters,stacks,
# texts,upgrades}, so that the program works without its installed files. src/base/catalog.cpp reads it.
function(kumihimo_embed_catalog target folder)
  file(GLOB files RELATIVE ${folder} CONFIGURE_DEPENDS ${folder}/models/*.json
       ${folder}/clusters/*.toml ${folder}/stacks/*.toml ${folder}/texts/*.txt
       ${folder}/upgrades/*.toml)
  # The list is a file of its own, rewritten only when it changes: a removed catalog file would
  # otherwise leave nothing newer than the output.
  set(list_file ${CMAKE_CURRENT_BINARY_DIR}/embedded_catalog.txt)
  list(JOIN files "\n" lines)
  file(CONFIGURE OUTPUT ${list_file} CONTENT "${lines}" @ONLY)
  list(TRANSFORM files PREPEND ${folder}/ OUTPUT_VARIABLE paths)
  set(script ${PROJECT_SOURCE_DIR}/cmake/write_embedded_catalog.cmake)
  set(output ${CMAKE_CURRENT_BINARY_DIR}/embedded_catalog.cpp)
  add_custom_command(
    OUTPUT ${output}
    COMMAND ${CMAKE_COMMAND} -DOUTPUT=${output} -DFOLDER=${folder} -DLIST=${list_file} -P ${script}
    DEPENDS ${paths} ${list_file} ${script}
    COMMENT "Embedding the catalog" VERBATIM)
  target_sources(${target} PRIVATE ${output})
endfunction()
