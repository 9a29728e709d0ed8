# Writes to OUTPUT what PROGRAM prints with ARGUMENTS; leaves no file where that fails.
get_filename_component(folder ${OUTPUT} DIRECTORY)
file(MAKE_DIRECTORY ${folder})
execute_process(COMMAND ${PROGRAM} ${ARGUMENTS} OUTPUT_FILE ${OUTPUT} RESULT_VARIABLE result)
if(NOT result EQUAL 0)
  file(REMOVE ${OUTPUT})
  list(JOIN ARGUMENTS " " arguments)
  message(FATAL_ERROR "kumihimo ${arguments} ended with ${result}")
endif()
