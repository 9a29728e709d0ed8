# cmake -D JOB=<mpirun ... -n> -D PROGRAM=<test_comm_mpi> -P check_mpi_failure.cmake
# When one rank throws, the job ends with the exit code of its exception, and that rank says why.
execute_process(COMMAND ${JOB} 3 ${PROGRAM} fail
                RESULT_VARIABLE code OUTPUT_VARIABLE output ERROR_VARIABLE output)
if(NOT code EQUAL 7)
  message(FATAL_ERROR "exit code ${code}, not 7:\n${output}")
endif()
if(NOT output MATCHES "kumihimo: rank 1: no more")
  message(FATAL_ERROR "the failed rank does not say why:\n${output}")
endif()
