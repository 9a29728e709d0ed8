# Writes OUTPUT, a C++ source that holds every catalog file below FOLDER named in LIST (one path
# such as models/llama-13b.json a line). The files are read as hexadecimal: as text, CMake would
# mangle semicolons, brackets and backslashes, and compilers limit the length of a string literal.
file(STRINGS ${LIST} paths)
set(arrays "")
set(entries "")
set(index 0)
foreach(path IN LISTS paths)
  get_filename_component(kind ${path} DIRECTORY)
  get_filename_component(name ${path} NAME_WLE)
  file(READ ${FOLDER}/${path} bytes HEX)
  # The final zero lets the array of an empty file exist; the length leaves it out.
  string(REGEX REPLACE "(..)" "'\\\\x\\1'," bytes "${bytes}")
  string(REGEX REPLACE "'\\\\x0a'," "'\\\\n',\n" bytes "${bytes}")
  string(APPEND arrays "// ${path}\nconstexpr char text_${index}[] = {\n${bytes}0};\n\n")
  string(APPEND entries
         "      {CatalogKind::${kind}, \"${name}\", {text_${index}, sizeof(text_${index}) - 1}},\n")
  math(EXPR index "${index} + 1")
endforeach()
file(WRITE ${OUTPUT} "// Generated from catalog/ by cmake/write_embedded_catalog.cmake.
#include \"base/embedded_catalog.hpp\"

namespace kumihimo {
namespace {

${arrays}}  // namespace

const std::vector<EmbeddedFile>& embedded_catalog() {
  static const std::vector<EmbeddedFile> files{
${entries}  };
  return files;
}

}  // namespace kumihimo
")
