# cmake -DFILES="a.yaml;b.yaml" -DOUT=file.c -P embed.cmake: the files as C arrays.
set(arrays "")
set(table "")
set(index 0)
foreach(file IN LISTS FILES)
    get_filename_component(name ${file} NAME)
    file(READ ${file} hex HEX)
    string(REGEX REPLACE "([0-9a-f][0-9a-f])" "'\\\\x\\1'," bytes "${hex}")
    string(APPEND arrays "static const char file_${index}[] = {${bytes}'\\0'};\n")
    string(APPEND table "    {\"${name}\", file_${index}, sizeof(file_${index}) - 1},\n")
    math(EXPR index "${index} + 1")
endforeach()
file(WRITE ${OUT} "/* Made from bouncer/rules. */
#include \"classify/rules_private.h\"

${arrays}
const struct rules_file rules_built_in[] = {
${table}};
const size_t rules_built_in_count = sizeof(rules_built_in) / sizeof(rules_built_in[0]);
")
