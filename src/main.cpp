#include "cli/program.hpp"

int main(int argc, char** argv) { return kumihimo::run_program(argc, argv); }
