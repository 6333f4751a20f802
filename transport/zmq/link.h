/* zmq/link.h - the link over ZeroMQ: schemes zmq+tcp and zmq+ipc. See transport/link.h for what they promise and
 * zmq/link.c for how.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TRANSPORT_ZMQ_LINK_H
#define STOA_TRANSPORT_ZMQ_LINK_H

#include "transport/link.h"

extern const stoa_link_ops stoa_link_zmq_ipc;
extern const stoa_link_ops stoa_link_zmq_tcp;

#endif
