# kumihimo_install()
#
# Installs the program, its catalog, man page and shell completions. The last two are printed by the
# program itself from the table of its options, so they cannot fall behind it; set
# KUMIHIMO_DOCUMENTS=OFF where the built program cannot run (cross-compiling).
include(GNUInstallDirs)

# Adds <output>, what `kumihimo <arguments>` prints, to `documents` of the caller.
macro(kumihimo_document output)
  set(path ${CMAKE_BINARY_DIR}/documents/${output})
  add_custom_command(
    OUTPUT ${path}
    COMMAND ${CMAKE_COMMAND} -DPROGRAM=$<TARGET_FILE:kumihimo> "-DARGUMENTS=${ARGN}"
            -DOUTPUT=${path} -P ${PROJECT_SOURCE_DIR}/cmake/write_program_output.cmake
    DEPENDS kumihimo ${PROJECT_SOURCE_DIR}/cmake/write_program_output.cmake
    COMMENT "Writing ${output}" VERBATIM)
  list(APPEND documents ${path})
endmacro()

function(kumihimo_install)
  install(TARGETS kumihimo RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
  # The program looks beside itself, whatever the distribution calls its data folder.
  foreach(kind models clusters stacks texts upgrades)
    install(DIRECTORY ${PROJECT_SOURCE_DIR}/catalog/${kind} DESTINATION share/kumihimo/catalog
            FILES_MATCHING PATTERN *.json PATTERN *.toml PATTERN *.txt)
  endforeach()

  if(KUMIHIMO_DOCUMENTS)
    set(documents "")
    kumihimo_document(kumihimo.1 manual)
    kumihimo_document(kumihimo completion bash)
    kumihimo_document(_kumihimo completion zsh)
    kumihimo_document(kumihimo.fish completion fish)
    add_custom_target(kumihimo_documents ALL DEPENDS ${documents})

    set(folder ${CMAKE_BINARY_DIR}/documents)
    install(FILES ${folder}/kumihimo.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
    install(FILES ${folder}/kumihimo DESTINATION share/bash-completion/completions)
    install(FILES ${folder}/_kumihimo DESTINATION share/zsh/site-functions)
    install(FILES ${folder}/kumihimo.fish DESTINATION share/fish/vendor_completions.d)
  endif()
endfunction()
