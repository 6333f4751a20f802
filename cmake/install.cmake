# install.cmake - what 'cmake --install' puts where. Components: lib (what a program that embeds the runtime needs), client
# (what a program that talks to a node needs), node.
#
#     lib/libstoa.so, lib/libstoa.a  actors, journals, simulator, links; the shared one shows what the installed headers declare
#     lib/stoa/link_NAME.so          links whose libraries are loaded when an address asks for them (components lib, node)
#     include/stoa/stoa.h            and the headers beside it: #include <stoa/stoa.h>; -I is include
#     lib/pkgconfig/stoa.pc          pkg-config --cflags --libs stoa; stoa-static for the archive
#     lib/cmake/Stoa/                find_package(Stoa), targets Stoa::stoa and Stoa::stoa_static
#     lib/libstoa-client.so          the rooms it needs are inside; only stoa_client_... is visible
#     include/stoa/stoa_client.h     and the tables beside it; -I is include/stoa
#     lib/pkgconfig/stoa-client.pc   pkg-config --cflags --libs stoa-client
#     lib/cmake/StoaClient/          find_package(StoaClient), target Stoa::client
#     bin/stoad, bin/stoa
#     bin/stoa-isolate               what runs plug-ins (components lib, node)
include(CMakePackageConfigHelpers)

# install_headers(component headers...): these and what they include (cmake/install_headers.cmake says how).
function(install_headers component)
  list(JOIN ARGN " " headers)
  install(CODE "
    set(SOURCE \"${CMAKE_SOURCE_DIR}\")
    set(FOLDER \"\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_INCLUDEDIR}/stoa\")
    set(HEADERS ${headers})" COMPONENT ${component})
  install(SCRIPT ${CMAKE_SOURCE_DIR}/cmake/install_headers.cmake COMPONENT ${component})
endfunction()

# install_package(name component targets...): Name: their CMake package; it is exported, versioned, and may be moved.
function(install_package name component)
  set(folder ${CMAKE_INSTALL_LIBDIR}/cmake/${name})
  install(TARGETS ${ARGN} EXPORT ${name}Targets COMPONENT ${component}
    LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
  install(EXPORT ${name}Targets NAMESPACE Stoa:: DESTINATION ${folder} COMPONENT ${component})
  configure_package_config_file(cmake/${name}Config.cmake.in ${CMAKE_BINARY_DIR}/${name}Config.cmake
    INSTALL_DESTINATION ${folder})
  write_basic_package_version_file(${CMAKE_BINARY_DIR}/${name}ConfigVersion.cmake COMPATIBILITY SameMinorVersion)
  install(FILES ${CMAKE_BINARY_DIR}/${name}Config.cmake ${CMAKE_BINARY_DIR}/${name}ConfigVersion.cmake
    DESTINATION ${folder} COMPONENT ${component})
endfunction()

function(install_pkgconfig component)
  file(RELATIVE_PATH up /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
  string(REGEX REPLACE "/$" "" up ${up})
  foreach(name IN LISTS ARGN)
    configure_file(cmake/${name}.pc.in ${CMAKE_BINARY_DIR}/${name}.pc @ONLY)
    install(FILES ${CMAKE_BINARY_DIR}/${name}.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT ${component})
  endforeach()
endfunction()

# What both shared libraries are: versioned, of no more libraries than they use, with all that they need.
function(shared_library target name)
  set_target_properties(${target} PROPERTIES OUTPUT_NAME ${name} VERSION ${PROJECT_VERSION}
    SOVERSION ${PROJECT_VERSION_MAJOR})
  target_link_options(${target} PRIVATE LINKER:--as-needed LINKER:--exclude-libs,ALL
    LINKER:--version-script,${CMAKE_SOURCE_DIR}/cmake/exports.map)
  set_target_properties(${target} PROPERTIES LINK_DEPENDS ${CMAKE_SOURCE_DIR}/cmake/exports.map)
  if(NOT STOA_SANITIZE) # a sanitizer's own symbols come from the program
    target_link_options(${target} PRIVATE LINKER:--no-undefined)
  endif()
endfunction()

# --- libstoa's headers; in the tree build/PRESET/include/stoa leads to the same ones
set(stoa_headers runtime/stoa.h cluster/links.h runtime/isolate/isolate.h runtime/isolate/plugin.h runtime/kit.h runtime/sim.h storage/rocksdb/journal.h storage/sim/journal.h storage/seal.h
  runtime/cause.h runtime/log_reader.h runtime/readers.h base/log.h base/map64.h base/omap.h base/pool.h base/random.h base/text_map.h base/texts.h
  base/wire.h)
install_headers(lib ${stoa_headers})
foreach(header IN LISTS stoa_headers)
  string(REPLACE runtime/stoa.h stoa.h path ${header})
  file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/include/stoa/${path} CONTENT "#include \"${header}\"\n")
endforeach()

# --- libstoa: base and storage without what only a node needs (settings from YAML, JSON of venues, archives, PostgreSQL),
# runtime, links to other nodes (decision 0037)
set(stoa_objects $<TARGET_OBJECTS:stoa_runtime> $<TARGET_OBJECTS:stoa_snapshots> $<TARGET_OBJECTS:stoa_shm>
  $<TARGET_OBJECTS:stoa_transport> $<TARGET_OBJECTS:stoa_keys>
  "$<FILTER:$<TARGET_OBJECTS:stoa_cluster>,INCLUDE,/cluster/(links|remote)/>"
  "$<FILTER:$<TARGET_OBJECTS:stoa_storage>,EXCLUDE,/storage/(archive|postgres)/>"
  "$<FILTER:$<TARGET_OBJECTS:stoa_storage>,INCLUDE,/storage/archive/file\\.c\\.o$>"
  "$<FILTER:$<TARGET_OBJECTS:stoa_base>,EXCLUDE,/(config[a-z_]*|json)\\.[a-z]+\\.o$>")
set(stoa_needs rocksdb zmq sodium crypto stdc++) # what libstoa.a leaves to its program; stoa.pc says the same
add_library(stoa_shared SHARED ${stoa_objects})
add_library(stoa_static STATIC ${stoa_objects})
shared_library(stoa_shared stoa)
set_target_properties(stoa_shared PROPERTIES EXPORT_NAME stoa)
set_target_properties(stoa_static PROPERTIES OUTPUT_NAME stoa)
target_link_libraries(stoa_shared PRIVATE stoa_flags ext_rocksdb ext_zmq ext_sodium ext_crypto ${CMAKE_DL_LIBS})
target_link_options(stoa_shared PRIVATE LINKER:-Bsymbolic-functions) # its own calls stay inside; data may be the program's copy
target_link_libraries(stoa_static INTERFACE ${stoa_needs} Threads::Threads)
foreach(target IN ITEMS stoa_shared stoa_static)
  target_include_directories(${target} INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
endforeach()
add_dependencies(stoa_shared stoa-isolate ${link_modules}) # the component has them
add_dependencies(stoa_static stoa-isolate ${link_modules})
install_package(Stoa lib stoa_shared stoa_static)
install_pkgconfig(lib stoa stoa-static)

# --- libstoa-client
add_library(stoa_client SHARED $<TARGET_OBJECTS:stoa_sdk>)
shared_library(stoa_client stoa-client)
set_target_properties(stoa_client PROPERTIES EXPORT_NAME client)
target_link_libraries(stoa_client PRIVATE stoa_tables stoa_transport stoa_base)
target_include_directories(stoa_client INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}/stoa>)
install_package(StoaClient client stoa_client)
install_pkgconfig(client stoa-client)
install_headers(client sdk/stoa_client.h)

install(TARGETS stoad stoa RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT node)
install(TARGETS stoa-isolate RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT lib)
install(TARGETS stoa-isolate RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT node)
