/* page.h - an answer's document as a terminal shows it: the views of document.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_ADMIN_PAGE_H
#define STOA_ADMIN_PAGE_H

#include "admin/grid.h"
#include "base/json.h"

/* Append the document as view says; an empty view shows all of it, indented. now_ns: UTC, for times of today. A view
 * that cannot be read shows as much as could. Errors: MALFORMED (the document is not JSON), NOMEM, TOO_LARGE. */
stoa_err stoa_page_print(stoa_json_parser *parser, const char *document, size_t document_bytes, const char *view,
                         size_t view_bytes, const stoa_style *style, uint64_t now_ns, stoa_buf *out);

#endif
