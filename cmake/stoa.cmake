# stoa.cmake - the few words the build is written in: stoa_external, stoa_room, stoa_link_module, stoa_program,
# stoa_plugin.

# stoa_plain: what everything is compiled with; stoa_flags: and the sanitizers.
add_library(stoa_plain INTERFACE)
add_library(stoa_flags INTERFACE)
target_link_libraries(stoa_flags INTERFACE stoa_plain)
target_include_directories(stoa_plain INTERFACE ${CMAKE_SOURCE_DIR})
target_compile_definitions(stoa_plain INTERFACE _GNU_SOURCE STOA_VERSION="${PROJECT_VERSION}")
set(warnings -Wall -Wextra -Wpedantic -Werror -Wshadow -Wundef -Wvla -Wpointer-arith -Wcast-qual -Wwrite-strings
    -Wformat=2 -fno-omit-frame-pointer -fvisibility=hidden -fno-semantic-interposition)
set(warnings_c -Wconversion -Wsign-conversion -Wstrict-prototypes -Wold-style-definition -Wmissing-prototypes
    -Wswitch-enum -Wimplicit-fallthrough -Wnull-dereference -Wdouble-promotion -fno-common)
set(warnings_gcc -Wduplicated-cond -Wduplicated-branches -Wlogical-op)
target_compile_options(stoa_plain INTERFACE ${warnings}
  "$<$<COMPILE_LANGUAGE:C>:${warnings_c}>"
  "$<$<COMPILE_LANG_AND_ID:C,GNU>:${warnings_gcc}>")
target_link_libraries(stoa_plain INTERFACE Threads::Threads)
if(STOA_SANITIZE)
  target_compile_options(stoa_flags INTERFACE -fsanitize=${STOA_SANITIZE} -fno-sanitize-recover=all)
  target_link_options(stoa_flags INTERFACE -fsanitize=${STOA_SANITIZE})
endif()
if(STOA_FUZZ)
  target_compile_options(stoa_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

# stoa_external(name pkg): a library found by pkg-config, as target ext_name.
function(stoa_external name pkg)
  pkg_check_modules(${name} REQUIRED IMPORTED_TARGET GLOBAL ${pkg})
  add_library(ext_${name} INTERFACE)
  target_link_libraries(ext_${name} INTERFACE PkgConfig::${name})
endfunction()

# stoa_external_library(name header library): one without a pkg-config file, as target ext_name.
function(stoa_external_library name header library)
  find_path(${name}_include ${header} REQUIRED)
  find_library(${name}_library ${library} REQUIRED)
  add_library(ext_${name} INTERFACE)
  target_include_directories(ext_${name} SYSTEM INTERFACE ${${name}_include})
  target_link_libraries(ext_${name} INTERFACE ${${name}_library})
endfunction()

# stoa_room(name ON rooms EXTERNAL libraries WITHOUT sources): the folder's sources but for main.c, as static library
# stoa_name. Files named *_msgs.c are tables without handlers; all of them are the library stoa_tables, which clients link
# alone.
function(stoa_room name)
  cmake_parse_arguments(ROOM "" "" "ON;EXTERNAL;WITHOUT" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${name}/*.c ${name}/*.cc)
  list(FILTER sources EXCLUDE REGEX "(/main|_msgs)\\.c$")
  list(TRANSFORM ROOM_WITHOUT PREPEND ${CMAKE_SOURCE_DIR}/)
  list(REMOVE_ITEM sources ${ROOM_WITHOUT} "")
  list(TRANSFORM ROOM_ON PREPEND stoa_)
  list(TRANSFORM ROOM_EXTERNAL PREPEND ext_)
  add_library(stoa_${name} STATIC ${sources})
  target_link_libraries(stoa_${name} PUBLIC stoa_flags ${ROOM_ON} PRIVATE ${ROOM_EXTERNAL})
endfunction()

# stoa_program(name source ON rooms)
function(stoa_program name source)
  cmake_parse_arguments(PROGRAM "" "" "ON;EXTERNAL" ${ARGN})
  list(TRANSFORM PROGRAM_ON PREPEND stoa_)
  list(TRANSFORM PROGRAM_EXTERNAL PREPEND ext_)
  add_executable(${name} ${source})
  target_link_libraries(${name} PRIVATE ${PROGRAM_ON} ${PROGRAM_EXTERNAL})
endfunction()

# stoa_link_module(name libraries...): transport/name/ as lib/stoa/link_name.so, which is loaded when an address asks for it
# (transport/module.h). It shows its entry only; errors and panics go to the program that loads it.
function(stoa_link_module name)
  file(GLOB sources CONFIGURE_DEPENDS transport/${name}/*.c)
  list(TRANSFORM ARGN PREPEND ext_ OUTPUT_VARIABLE libraries)
  add_library(link_${name} MODULE ${sources} transport/module_host.c)
  set_target_properties(link_${name} PROPERTIES PREFIX "" LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib/stoa
    LINK_DEPENDS ${CMAKE_SOURCE_DIR}/cmake/module.map)
  target_link_libraries(link_${name} PRIVATE stoa_flags stoa_transport stoa_base ${libraries})
  target_link_options(link_${name} PRIVATE LINKER:--as-needed LINKER:--exclude-libs,ALL
    LINKER:--version-script,${CMAKE_SOURCE_DIR}/cmake/module.map)
  foreach(component IN ITEMS lib node)
    install(TARGETS link_${name} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/stoa COMPONENT ${component})
  endforeach()
  set_property(GLOBAL APPEND PROPERTY STOA_LINK_MODULES link_${name})
endfunction()

# stoa_plugin(name source): a library that stoa-isolate loads. Without sanitizers, which want more memory than a child may have.
function(stoa_plugin name source)
  add_library(${name} MODULE ${source})
  target_link_libraries(${name} PRIVATE stoa_plain)
  target_include_directories(${name} PRIVATE ${CMAKE_BINARY_DIR}/include)
  set_target_properties(${name} PROPERTIES PREFIX "" LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/plugins)
endfunction()
