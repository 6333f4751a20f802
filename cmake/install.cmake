# install.cmake - what 'cmake --install' puts where.
