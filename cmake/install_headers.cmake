# install_headers.cmake - run at install time: public headers, and all that they include, go to a folder of one's own.
#
# In: SOURCE (the tree), FOLDER (where to, without DESTDIR), HEADERS (paths from the root). A header keeps its path, but for
# runtime/stoa.h and sdk/stoa_client.h, which lie on top. The includes of one another are written anew, relative to the
# header that has them, so that an installed header finds its own neighbours whatever else is called base/error.h, and
# whichever -I the program was compiled with.

cmake_policy(VERSION 3.25)

# place(path out): where a header lies below FOLDER.
function(place path out)
  string(REGEX REPLACE "^(runtime/stoa\\.h|sdk/stoa_client\\.h)$" "top/\\1" path "${path}")
  string(REGEX REPLACE "^top/[a-z]+/" "" path "${path}")
  set(${out} ${path} PARENT_SCOPE)
endfunction()

set(todo ${HEADERS})
set(done)
while(todo)
  list(POP_FRONT todo header)
  if(header IN_LIST done)
    continue()
  endif()
  list(APPEND done ${header})
  file(READ ${SOURCE}/${header} text)
  place(${header} at)
  cmake_path(GET at PARENT_PATH folder)
  string(REGEX MATCHALL "#include \"[^\"]+\"" includes "${text}")
  foreach(include IN LISTS includes)
    string(REGEX REPLACE ".*\"(.*)\"" "\\1" other "${include}")
    list(APPEND todo ${other})
    place(${other} target)
    cmake_path(ABSOLUTE_PATH target BASE_DIRECTORY /)
    cmake_path(ABSOLUTE_PATH folder BASE_DIRECTORY / OUTPUT_VARIABLE base)
    cmake_path(RELATIVE_PATH target BASE_DIRECTORY ${base})
    string(REPLACE "${include}" "#include \"${target}\"" text "${text}")
  endforeach()
  message(STATUS "Installing: $ENV{DESTDIR}${FOLDER}/${at}")
  file(WRITE "$ENV{DESTDIR}${FOLDER}/${at}" "${text}")
  list(APPEND CMAKE_INSTALL_MANIFEST_FILES "${FOLDER}/${at}")
endwhile()
