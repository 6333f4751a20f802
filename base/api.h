/* api.h - marks what libstoa lets others see.
 *
 * Everything is compiled with hidden visibility. What a public header declares between STOA_API_BEGIN and STOA_API_END
 * is exported from the shared library; everything else is not. No include stands between the two.
 * tests/integration/lib_install_test.py compares the library's symbols with the installed headers, both ways.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_BASE_API_H
#define STOA_BASE_API_H

#define STOA_API_BEGIN _Pragma("GCC visibility push(default)")
#define STOA_API_END   _Pragma("GCC visibility pop")

#endif
