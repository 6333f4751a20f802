/* top.h - `top` on a terminal: a screen that is drawn again every second, until q or Ctrl-C.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_ADMIN_TOP_H
#define STOA_ADMIN_TOP_H

#include "admin/session.h"

/* Take the terminal, draw until the user leaves, give it back as it was. A node that goes away is waited for. */
stoa_exit stoa_top_run(stoa_session *session);

#endif
