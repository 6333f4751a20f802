"""sdk_examples_test.py - goal: the examples that speak to a node do what their heads say. Method: run them against one.

SPDX-License-Identifier: Apache-2.0
"""
import os
import shutil
import subprocess
import time

from running_node import Node

BIN = os.environ["STOA_BIN"]


def order(node, who, *words, code=0):
    command = [os.path.join(BIN, "example_sdk_order"), node.endpoint, node.key("server") + ".pub", node.key(who), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return done.stdout + done.stderr


class Talker:
    def __init__(self, node, who):
        self.process = subprocess.Popen(
            [os.path.join(BIN, "example_sdk_room"), node.endpoint, node.key("server") + ".pub", node.key(who), "lobby"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def say(self, text):
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def hear(self):
        return self.process.stdout.readline().strip()

    def leave(self):
        rest, _ = self.process.communicate(timeout=30)
        assert self.process.returncode == 0
        return rest


def orders_are_placed_once(node):
    told = order(node, "alice", "alice", "BTCUSDT", "buy", "100.5", "0.02", "77")
    assert " open, filled 0; durable: disk" in told and "cancelled (client)" in told and "used before" not in told, told
    again = order(node, "alice", "alice", "BTCUSDT", "buy", "100.5", "0.02", "77")
    assert "used before" in again and "open" not in again and "update" not in again, again  # the same order, final already
    rejected = order(node, "alice", "alice", "BTCUSDT", "buy", "100.5", "101", "90", code=1)  # qty_max is 100
    assert "rejected (" in rejected and "cancel" not in rejected, rejected


def orders_are_refused_by_name(node):
    def tried(side="buy", price="100.5", qty="0.03", own_id="200", account="alice", code=2):
        return order(node, "alice", account, "BTCUSDT", side, price, qty, own_id, code=code)

    assert "DUPLICATE" in tried(own_id="77", code=1)
    assert "DENIED" in tried(account="bob", code=1)
    assert tried(price="100.501", code=1).startswith("place: PRECISION, ")
    assert "PRICE cheap: MALFORMED, " in tried(price="cheap")
    assert "QTY -1: RANGE, " in tried(qty="-1")
    assert "CLIENT_ORDER_ID 1x: " in tried(own_id="1x") and "CLIENT_ORDER_ID 0: " in tried(own_id="0")
    assert "BUY: not a side\nusage: " in tried(side="BUY")
    assert "usage: " in order(node, "alice", code=2)


def who_cannot_connect_learns_why(node):
    words = ["alice", "BTCUSDT", "buy", "100.5", "0.03", "300"]
    assert node.key("nobody") + ".key: No such file" in order(node, "nobody", *words, code=1)
    assert "the node does not know this key" in order(node, "server", *words, code=1)
    node.kill()
    assert f"nothing answers at {node.endpoint}\n" in order(node, "alice", *words, code=1)


def people_hear_each_other(node):
    alice, bob = Talker(node, "alice"), Talker(node, "bob")
    alice.say("hello bob")
    assert alice.hear() == "1 alice: hello bob" and bob.hear() == "1 alice: hello bob"
    bob.say("hello alice")
    assert alice.hear() == "2 bob: hello alice" and bob.hear() == "2 bob: hello alice"
    node.kill()
    node.start()
    alice.say("still here")
    assert alice.hear() == "3 alice: still here" and bob.hear() == "3 alice: still here"
    alice.leave()
    bob.leave()
    late = Talker(node, "bob")
    assert [late.hear() for _ in range(3)][2] == "3 alice: still here"
    time.sleep(0.1)
    assert late.leave() == ""


def main():
    node = Node()
    try:
        node.start()
        orders_are_placed_once(node)
        orders_are_refused_by_name(node)
        people_hear_each_other(node)
        who_cannot_connect_learns_why(node)
    except BaseException:
        print(node.log())
        raise
    finally:
        node.close()
    shutil.rmtree(node.folder)


main()
