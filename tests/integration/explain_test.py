"""explain_test.py - goal: on a real node `explain event` and `explain order` tell one tree across shards from the client's request on, also
what was purged and only the archive has, and say where a trail ends. Method: stoad with a wallet in a shard of its own, fed by a channel;
orders by the client library; a journal that is purged; then the same data without its archive.

SPDX-License-Identifier: Apache-2.0
"""
import json
import os
import shutil
import signal
import subprocess
import sys
import time

from running_node import BIN, Node
from stoa_client import Client

WAIT_S = 120
SETTINGS = """
archive: {interval: 100ms, segment: 4KiB}
retention: {orders: {hot: 1s, warm: 300s}, trades: {hot: 1s, warm: 300s}, chat: {hot: 1s, warm: 300s}}
snapshot: {every_events: 50, every: 200ms}
"""


def ask(node, line, code=0, form="json"):
    done = subprocess.run([os.path.join(BIN, "stoa"), "-o", form, "--write", "--data", node.path("data"), "--timeout", "60000", "--eval", line],
                          capture_output=True, text=True, timeout=WAIT_S, check=False, stdin=subprocess.DEVNULL)
    assert (done.returncode == 0) == (code == 0), (line, done.returncode, done.stdout[-3000:], done.stderr[-3000:])
    return json.loads(done.stdout) if code == 0 and form == "json" else done.stdout + done.stderr


def until(look):
    end = time.monotonic() + WAIT_S
    while not (found := look()):
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.05)
    return found


def flat(tree, depth=0):
    for node in tree:
        yield depth, node
        yield from flat(node.get("children", []), depth + 1)


def names(tree):
    return [(depth, node["shard"], node["event"]) for depth, node in flat(tree)]


def log_first(node):
    return ask(node, "journal trade")["journal"]["first"]


def main():
    node = Node()
    try:
        with open(node.path("stoa.yaml"), encoding="utf-8") as file:
            text = file.read()
        text = text.replace("clients:", '  - {name: safe, shard: vault, funds: "5000 USDT"}\nclients:')
        with open(node.path("stoa.yaml"), "w", encoding="utf-8") as file:
            file.write(text + SETTINGS)
        node.start()
        until(lambda: [c for c in ask(node, "channels")["channels"] if c["to"] == "vault" and c["waiting"] == 0 and c["mailed"]])

        # the wallet's money came of an event of another shard, and from each of its events the same tree is told
        last = next(s["committed"] for s in ask(node, "shards")["shards"] if s["name"] == "vault")
        trees = [ask(node, f"explain event vault {position}")["tree"] for position in range(1, last + 1)]
        tree = next(t for t in trees if any(n["event"] == "stoa_shard_log.delivered" for _, n in flat(t)))
        assert len(tree) == 1 and tree[0]["shard"] == "trade" and tree[0]["event"] == "beginning", tree
        mailed = next(n for _, n in flat(tree) if n["event"] == "stoa_shard_log.mailed")
        below = [n["event"] for n in mailed["children"]]
        assert mailed["shard"] == "trade" and below[0] == "stoa_shard_log.delivered" and "trade_account.deposited" in below, below
        assert all(n["shard"] == "vault" and n["actor"] and n["position"] and n["at_ns"] and "payload" in n for n in mailed["children"])
        assert ask(node, f"explain event trade {mailed['position']}")["tree"] == tree
        shown = ask(node, f"explain event vault {mailed['children'][0]['position']}", form="table")
        assert "beginning" in shown and "stoa_shard_log.delivered" in shown, shown

        # an order: its request is the root
        client = Client(node.endpoint, os.path.join(node.path("data"), "keys", "server.pub"), os.path.join(node.path("data"), "keys", "alice"))
        client.wait_ready(60)
        placed = client.place("alice", 1, "BTCUSDT", "buy", "60000", "0.001", deadline=60)["order_id"]
        told = ask(node, f"explain order {placed}")
        root = told["tree"][0]
        assert root["event"] == "request" and root["client"] and root["session"] and root["request"], root
        events = [n["event"] for _, n in flat(told["tree"])]
        assert "risk.checked" in events and "trade_account.ordered" in events and "trade_book.rested" in events, events
        assert ask(node, f"explain event trade {told['steps'][0]['position']}")["tree"] == told["tree"]
        shown = ask(node, f"explain order {placed}", form="table")
        assert "request" in shown and "bytes)" in shown and "reserved16" not in shown, shown  # for people: no filling, no hex

        # purged, and told from the archive
        number, end = 1, time.monotonic() + WAIT_S
        while log_first(node) <= told["steps"][-1]["position"] + 50:
            assert time.monotonic() < end, (ask(node, "archive"), node.log())
            number += 1
            client.place("alice", number, "BTCUSDT", "buy", "60000", "0.001", deadline=60)
        again = ask(node, f"explain order {placed}")
        assert again["steps"][:len(told["steps"])] == told["steps"] and again["tree"][0] == told["tree"][0], again
        out = ask(node, "explain order 999999999", code=1)
        assert "NOT_FOUND" in out and "which begins at position" in out and "nor in its archive" in out, out
        first = log_first(node)
        client.close()
        node.process.send_signal(signal.SIGTERM)
        assert node.process.wait(WAIT_S) == 0

        # the same without an archive: what is below the log's first position is said to be that
        with open(node.path("stoa.yaml"), "w", encoding="utf-8") as file:
            file.write(text + "\narchive: {interval: 0s}\n")
        node.start()
        assert log_first(node) >= first
        out = ask(node, f"explain order {placed}", code=1)
        assert "GONE" in out and f"begins at position {log_first(node)}" in out and "cannot" not in out, out
        assert "archive.interval is 0" in out, out
        out = ask(node, "explain event trade 1", code=1)
        assert "GONE" in out and "below the first of shard trade" in out, out
        vault = ask(node, f"explain event vault {mailed['children'][0]['position']}")["tree"]
        assert vault[0]["event"] == "the trail ends" and "purged" in vault[0]["what"], vault
        assert vault[1]["event"] == "beginning" and vault[1]["shard"] == "vault", vault
        print("explained across shards, from the archive, and where the trail ends")
        return 0
    finally:
        node.close()
        shutil.rmtree(node.folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
