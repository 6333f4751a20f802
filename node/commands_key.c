/* commands_key.c - keys of clients and of the node: made, shown, let in, revoked, rotated. What they do is admin/key.c's and node/keys.c's.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "node/commands.h"
#include "node/keys.h"

stoa_err stoa_command_key_new(stoa_platform *platform, stoa_door_call *call)
{
    return stoa_node_keys_command(platform->own_keys, call);
}

stoa_err stoa_command_key_show(stoa_platform *platform, stoa_door_call *call)
{
    return stoa_node_keys_command(platform->own_keys, call);
}

stoa_err stoa_command_key_allow(stoa_platform *platform, stoa_door_call *call)
{
    return stoa_node_keys_command(platform->own_keys, call);
}

stoa_err stoa_command_key_revoke(stoa_platform *platform, stoa_door_call *call)
{
    return stoa_node_keys_command(platform->own_keys, call);
}

stoa_err stoa_command_key_rotate(stoa_platform *platform, stoa_door_call *call)
{
    return stoa_node_keys_command(platform->own_keys, call);
}
