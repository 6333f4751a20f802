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
    assert "status 2, filled 0; durable: disk" in told and "status 4" in told, told  # open, then cancelled
    again = order(node, "alice", "alice", "BTCUSDT", "buy", "100.5", "0.02", "77")
    assert "status 4" in again and "update" not in again, again  # the same order, final already
    assert "DUPLICATE" in order(node, "alice", "alice", "BTCUSDT", "buy", "100.5", "0.03", "77", code=1)
    assert "PRECISION" in order(node, "alice", "alice", "BTCUSDT", "buy", "100.501", "0.03", "78", code=1)
    assert "DENIED" in order(node, "alice", "bob", "BTCUSDT", "buy", "100.5", "0.03", "79", code=1)
    assert "MALFORMED" in order(node, "alice", "alice", "BTCUSDT", "buy", "cheap", "0.03", "80", code=1)
    assert "usage" in order(node, "alice", code=2)


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
        people_hear_each_other(node)
    except BaseException:
        print(node.log())
        raise
    finally:
        node.close()
    shutil.rmtree(node.folder)


main()
