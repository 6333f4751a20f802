"""stale_test.py - goal: a client whose session the node has forgotten is told STALE once, for a request that was not executed, and goes on in
a new session; it never sends the refused one again by itself. Method: a real node; 64 later sessions of the same client, each with an
order, push the first one out of the node's memory; both clients, by their drivers.

SPDX-License-Identifier: Apache-2.0
"""
import os
import sys

from conformance_test import DRIVERS, Client, refused
from running_node import Node
from stoa_client import Client as Python

SESSIONS = 64  # of one client, that a shard remembers


def forget(node, who, number):
    """As many later sessions of that client as the node remembers, each with an effect."""
    keys = os.path.join(node.path("data"), "keys")
    for _ in range(SESSIONS):
        client = Python(node.endpoint, os.path.join(keys, "server.pub"), os.path.join(keys, who))
        client.wait_ready(60)
        number += 1
        client.place(who, number, "BTCUSDT", "buy", "50000", "0.01", deadline=60)
        client.close()
    return number



def case(node, who, command):
    client = Client(command, node, who)
    stream = client.subscribe("orders", who)
    client.place(who, 1, "50000")
    first = client.do("wait", deadline_ms=60000)["sessions"]
    number = forget(node, who, 1)
    refused("STALE", client.place, who, number + 1, "50000")  # not executed ...
    refused("NOT_FOUND", client.call, "order.query", who, order_id=0, client_order_id=number + 1)
    order = client.place(who, number + 2, "50000")            # ... and the next one is, in a session of its own
    assert order["client_order_id"] == number + 2, order
    assert client.do("wait", deadline_ms=60000)["sessions"] == first + 1
    refused("NOT_FOUND", client.call, "order.query", who, order_id=0, client_order_id=number + 1)  # nobody sent it again
    assert client.place(who, number + 1, "50000")["client_order_id"] == number + 1  # but the caller, who knows what he does
    events = client.events_until(lambda seen: sum(str(number + 2) in str(e) for e in seen) > 0)
    assert events and stream, events  # the stream goes on over the change
    client.close()


def main():
    node = Node()
    try:
        node.start()
        for who, (name, command) in zip(("alice", "bob"), DRIVERS.items()):
            case(node, who, command)
            print(f"{name}: a forgotten session is left, and nothing is done twice")
        assert node.stop() == 0
        return 0
    finally:
        node.close()


if __name__ == "__main__":
    sys.exit(main())
