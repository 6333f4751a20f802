# install.cmake - what 'cmake --install' puts where. Components: client (what a program that talks to a node needs), node.
#
#     lib/libstoa-client.so          the rooms it needs are inside; only stoa_client_... is visible
#     include/stoa/stoa_client.h     and the tables beside it; -I is include/stoa
#     lib/pkgconfig/stoa-client.pc   pkg-config --cflags --libs stoa-client
#     lib/cmake/StoaClient/          find_package(StoaClient), target Stoa::client
#     bin/stoad, bin/stoa
include(CMakePackageConfigHelpers)

add_library(stoa_client SHARED $<TARGET_OBJECTS:stoa_sdk>)
set_target_properties(stoa_client PROPERTIES OUTPUT_NAME stoa-client EXPORT_NAME client VERSION ${PROJECT_VERSION}
  SOVERSION ${PROJECT_VERSION_MAJOR})
target_link_libraries(stoa_client PRIVATE stoa_tables stoa_transport stoa_base)
target_link_options(stoa_client PRIVATE LINKER:--as-needed)
if(NOT STOA_SANITIZE) # a sanitizer's own symbols come from the program
  target_link_options(stoa_client PRIVATE LINKER:--no-undefined)
endif()
target_include_directories(stoa_client INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}/stoa>)

install(TARGETS stoa_client EXPORT StoaClientTargets LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT client)
install(FILES sdk/stoa_client.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/stoa COMPONENT client)
foreach(header IN ITEMS base/decimal.h base/durability.h base/error.h base/errors.def base/table.h base/text.h
    actors/client/protocol.def actors/market/book_msgs.h actors/market/feed_msgs.h actors/room/room_msgs.h
    actors/trade/account_msgs.h actors/trade/book_msgs.h actors/trade/trade_msgs.h)
  cmake_path(GET header PARENT_PATH folder)
  install(FILES ${header} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/stoa/${folder} COMPONENT client)
endforeach()

configure_file(cmake/stoa-client.pc.in ${CMAKE_BINARY_DIR}/stoa-client.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/stoa-client.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT client)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/StoaClient)
install(EXPORT StoaClientTargets NAMESPACE Stoa:: DESTINATION ${package_dir} COMPONENT client)
configure_package_config_file(cmake/StoaClientConfig.cmake.in ${CMAKE_BINARY_DIR}/StoaClientConfig.cmake
  INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(${CMAKE_BINARY_DIR}/StoaClientConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/StoaClientConfig.cmake ${CMAKE_BINARY_DIR}/StoaClientConfigVersion.cmake
  DESTINATION ${package_dir} COMPONENT client)

install(TARGETS stoad stoa RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT node)
