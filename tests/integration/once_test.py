"""once_test.py - goal: a client whose answer was lost gets it again, and what it asked for is done once. Method: a real node behind
a proxy that keeps the node's answers from one client. Another client sees that the order was taken, and trades with it; then the
connection is cut, or the node is killed with SIGKILL. The first client's call asks again by itself, and must get the first answer
- the order as it stood then, at its position in the journal - and not how it stands now. For the C client and the Python one.

SPDX-License-Identifier: Apache-2.0
"""
import sys
import threading
import time

from conformance_test import DRIVERS, WAIT_S, Client, Refused
from running_node import Node, Proxy


def until(look):
    end = time.monotonic() + WAIT_S
    while not (found := look()):
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.02)
    return found


def order_of(client, number):
    try:
        return client.call("order.query", "alice", client_order_id=number)["answer"]["order"]
    except Refused:
        return None


def answers_are_given_again(command, interrupt):
    node = Node()
    node.start()
    proxy = Proxy(node.port)
    alice = Client(command, node, "alice", endpoint=f"zmq+tcp://127.0.0.1:{proxy.port}")
    other = Client(command, node, "alice")
    bob = Client(command, node, "bob")
    try:
        warm = alice.place("alice", 1, "50000", side="sell")
        assert warm["status"] == "open"
        proxy.mute(True)
        result = {}
        asking = threading.Thread(target=lambda: result.update(alice.call(
            "order.place", "alice", client_order_id=2, symbol="BTCUSDT", side="sell", price="40000", qty="0.02")))
        asking.start()
        assert until(lambda: order_of(other, 2))["status"] == "open"
        assert bob.place("bob", 1, "40000", qty="0.02")["status"] == "filled"
        now = other.call("order.query", "alice", client_order_id=2)
        assert now["answer"]["order"]["status"] == "filled"
        assert not result, "the answer came through"
        interrupt(node, proxy)
        asking.join(WAIT_S)
        assert result, "no answer"
        order = result["answer"]["order"]
        assert order["status"] == "open" and result["durability"] == "disk", result
        assert result["position"] < now["position"], (result["position"], now["position"])
        # under another id it is another request, and the account says how it stands
        again = alice.place("alice", 2, "40000", qty="0.02", side="sell")
        assert again["status"] == "filled" and again["order_id"] == order["order_id"]
        listed = alice.call("order.list", "alice")["answer"]["orders"]
        assert [o["client_order_id"] for o in listed] == ["1", "2"] or [o["client_order_id"] for o in listed] == [1, 2], listed
        balances = other.call("account.balances", "alice")["answer"]["balances"]
        btc = [b for b in balances if b["asset"] == "BTC"][0]
        assert float(btc["free"]) + float(btc["reserved"]) == 999.98, btc
    except Exception:
        print(node.log(), file=sys.stderr)
        raise
    finally:
        for client in (alice, other, bob):
            client.close()
        node.close()


def cut(_node, proxy):
    proxy.mute(False)
    proxy.cut()


def kill(node, proxy):
    node.kill()
    node.start()
    proxy.mute(False)
    proxy.cut()


def main():
    for name, command in DRIVERS.items():
        for interrupt in (cut, kill):
            answers_are_given_again(command, interrupt)
            print(f"{name}: after a {interrupt.__name__} the first answer came again")


if __name__ == "__main__":
    main()
