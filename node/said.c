/* said.c - node/said.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "node/said.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

#include "base/buf.h"
#include "base/error.h"

/* Behind "NAME FILE:LINE: ", where the line begins so. */
static const char *sentence(const char *line, const char *end)
{
    const char *at = line + strspn(line, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_"), *mark = memmem(line, (size_t)(end - line), ": ", 2);
    bool placed = at > line && *at == ' ' && mark && mark > at && isdigit((unsigned char)mark[-1]);
    return placed && !memchr(at + 1, ' ', (size_t)(mark - at - 1)) ? mark + 2 : line;
}

const char *stoa_said_of(const char *trail, char text[STOA_SAID_MAX])
{
    stoa_buf out = {.at = text, .cap_bytes = STOA_SAID_MAX};
    text[0] = '\0';
    while (*trail) {
        const char *end = trail + strcspn(trail, "\n"), *at = sentence(trail, end);
        stoa_buf_printf(&out, "%s%.*s", out.used_bytes ? "; " : "", (int)(end - at), at);
        trail = end + (*end == '\n');
    }
    return text;
}

const char *stoa_said(char text[STOA_SAID_MAX])
{
    return stoa_said_of(stoa_err_trail(), text);
}
