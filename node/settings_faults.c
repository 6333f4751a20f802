/* settings_faults.c - see settings_faults.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "node/settings_faults.h"

#include <stdarg.h>
#include <stdio.h>

enum { KEY_TEXT_MAX = 96 };

void stoa_settings_fault(const stoa_settings_faults *faults, const char *key, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    if (faults) { stoa_config_vtell(faults->places, faults->lines, key, NULL, fmt, args); }
    va_end(args);
}

void stoa_settings_fault_by(const stoa_settings_faults *faults, const char *key, const char *cause, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    if (faults) { stoa_config_vtell(faults->places, faults->lines, key, cause, fmt, args); }
    va_end(args);
}

void stoa_settings_fault_of(const stoa_settings_faults *faults, const char *list, uint32_t index, const char *member, const char *fmt, ...)
{
    char key[KEY_TEXT_MAX];
    va_list args;
    (void)snprintf(key, sizeof key, "%s[%u].%s", list, index, member);
    va_start(args, fmt);
    if (faults) { stoa_config_vtell(faults->places, faults->lines, key, NULL, fmt, args); }
    va_end(args);
}
