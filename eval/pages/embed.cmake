# Writes a text file as a C array, with its SHA-256 beside it:
# cmake -DINPUT=report.css -DNAME=HTML_STYLE -DHEADER=eval/pages/html_style.h -DOUTPUT=html_style.c -P embed.cmake
function(bytes_of hex result)
  string(REGEX REPLACE "(..)" "0x\\1," bytes "${hex}")
  string(REGEX REPLACE "((0x..,)(0x..,)(0x..,)(0x..,)(0x..,)(0x..,)(0x..,)(0x..,))" "\\1\n" bytes "${bytes}")
  set(${result} "${bytes}" PARENT_SCOPE)
endfunction()
file(READ ${INPUT} hex HEX)
file(SHA256 ${INPUT} hash)
bytes_of("${hex}" bytes)
bytes_of("${hash}" hash)
file(WRITE ${OUTPUT} "#include \"${HEADER}\"\n\nconst char ${NAME}[] = {\n${bytes}0};\n"
  "\nconst unsigned char ${NAME}_SHA256[32] = {\n${hash}};\n")
