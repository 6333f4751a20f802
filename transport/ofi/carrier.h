/* ofi/carrier.h - libfabric as carrier of fabric links.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TRANSPORT_OFI_CARRIER_H
#define STOA_TRANSPORT_OFI_CARRIER_H

#include "transport/fabric/carrier.h"

extern const stoa_carrier_ops stoa_ofi_carrier;

#endif
