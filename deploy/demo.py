"""demo.py - the story that deploy/quickstart shows: market, order, room, kill -9 and back, replay; every figure counted.

    python3 deploy/demo.py BIN SECONDS      SECONDS 0: keep the node running afterwards, until Ctrl-C

With SECONDS the node has a private temporary folder, removed at the end, and the last line is one JSON object. Without, its
data is in the default folder (STOA_NODE_DATA, else ~/.stoa), the same that stoad and stoa use; the node is killed with -9
there, and each run adds its orders and a post. It kills only what it started.

SPDX-License-Identifier: Apache-2.0
"""
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

READY_S = 30
DEFAULT_ENDPOINT = "zmq+tcp://127.0.0.1:7400"


class Node:
    """One stoad process; its log goes to DATA/stoad.log."""

    def __init__(self, bin_dir, data, private):
        self.bin, self.data = bin_dir, data
        self.endpoint = "zmq+ipc://" + os.path.join(data, "gateway.sock") if private else DEFAULT_ENDPOINT
        self.flags = ["--gateway.listen=" + self.endpoint, "--http.port=-1"] if private else []
        self.log = os.path.join(data, "stoad.log")
        self.process = None

    def start(self):
        os.makedirs(self.data, mode=0o700, exist_ok=True)
        log = open(self.log, "ab")
        self.process = subprocess.Popen(
            [os.path.join(self.bin, "stoad"), "--data", self.data, *self.flags],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        log.close()
        began = time.monotonic()
        while True:
            code, _ = self.admin("node")
            if code == 0:
                return time.monotonic() - began
            if self.process.poll() is not None or time.monotonic() - began > READY_S:
                sys.exit(f"quickstart: the node did not come up: {self.cause()} (the whole log: {self.log})")
            time.sleep(0.02)

    def cause(self):
        """Why, in the words of the log's last error."""
        with open(self.log, encoding="utf-8", errors="replace") as log:
            lines = log.read().splitlines()
        for line in reversed(lines):
            try:
                said = json.loads(line)
            except ValueError:
                continue
            if said.get("level") == "error":
                why = said.get("trail") or said.get("text") or said.get("event")
                return re.sub(r"^[A-Z_]+ \S+:\d+: ", "", why)
        return lines[-1] if lines else "it said nothing"

    def admin(self, line, output="json"):
        done = subprocess.run([os.path.join(self.bin, "stoa"), "--data", self.data, "-o", output, "--eval", line],
                              capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
        return done.returncode, done.stdout

    def ask(self, line):
        code, text = self.admin(line)
        return json.loads(text) if code == 0 and text.strip() else None

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()


class Tour:
    """stoa-tour beside us: prints its lines as they come, keeps the last one."""

    def __init__(self, node, seconds):
        keys = os.path.join(node.data, "keys")
        self.last = "{}"
        self.process = subprocess.Popen(
            [os.path.join(node.bin, "stoa-tour"), node.endpoint, os.path.join(keys, "server.pub"), os.path.join(keys, "demo"),
             "alice", "BTCUSDT", "sim", str(seconds)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            if line.startswith("{"):
                self.last = line
            else:
                print(line, end="", flush=True)

    def wait(self):
        code = self.process.wait()
        self.reader.join()
        return code, json.loads(self.last)


def say(text):
    print(text, flush=True)


def committed(node):
    shards = (node.ask("shards") or {}).get("shards", [])
    return sum(shard["committed"] for shard in shards if shard["durability"] != "none")


def story(node, seconds):
    errors = 0
    say(f"  node    up in {node.start() * 1000:.0f} ms, data in {node.data}")
    tour = Tour(node, seconds)
    time.sleep(seconds / 2)
    say("  kill    -9 to the node, while orders are being placed")
    node.kill()
    back = node.start()
    say(f"  back    in {back * 1000:.0f} ms, state replayed from the journal")
    code, figures = tour.wait()
    errors += figures.get("errors", 1) + figures.get("lost", 1) + (code != 0 and not figures)
    last = figures.get("first_order", 0)
    explained, text = node.admin(f"explain order {last}", "table")
    errors += explained != 0
    say(f"  explain order {last}\n" + "".join("    " + line + "\n" for line in text.splitlines()))
    proof = (node.ask("hash trade") or {}).get("hash", {})
    equal = bool(proof.get("equal"))
    errors += not equal
    say(f"  replay  of {proof.get('events')} events in {proof.get('took_ns', 0) / 1e6:.0f} ms gives state hash {proof.get('replay')}, "
        f"live {proof.get('live')}: " + ("equal" if equal else "DIFFERENT"))
    figures.update(journal_events=committed(node), restart_ms=round(back * 1000), hash_equal=equal, errors=errors)
    return figures


def next_steps(bin_dir, data, order, running):
    keys = data + "/keys"
    first = "" if running else "    deploy/quickstart\n        a node that keeps running; then, in another terminal:\n"
    say("\n  What next" + (", in another terminal:\n" if running else ":\n") + first +
        f"    {bin_dir}/stoa\n"
        f"        the REPL: top, actors, book BTCUSDT, orders alice all, explain order {order}, help\n"
        f"    {bin_dir}/example_sdk_order {DEFAULT_ENDPOINT} {keys}/server.pub {keys}/demo bob BTCUSDT buy 60100 0.01 $(date +%s%6N)\n"
        "        an order from a program of your own: examples/sdk_order.c\n"
        f"    {bin_dir}/example_hello_actor\n"
        "        an actor of your own on one screen: examples/hello_actor.c\n")


def folder_for(seconds):
    if seconds:
        return tempfile.mkdtemp(prefix="stoa-demo-")
    return os.path.abspath(os.environ.get("STOA_NODE_DATA") or os.path.join(os.path.expanduser("~"), ".stoa"))


def main():
    bin_dir, seconds = sys.argv[1], int(sys.argv[2])
    node = Node(bin_dir, folder_for(seconds), private=bool(seconds))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if node.admin("node")[0] == 0:
        sys.exit(f"quickstart: a node already runs on {node.data}; look into it with {bin_dir}/stoa")
    try:
        figures = story(node, seconds or 6)
        next_steps(bin_dir, node.data if not seconds else "~/.stoa", figures["first_order"], running=not seconds)
        if seconds:
            node.stop()
            print(json.dumps(figures), flush=True)
            return 0 if figures["errors"] == 0 else 1
        say("  The node runs until Ctrl-C.")
        node.process.wait()
        return 0
    except KeyboardInterrupt:
        return 0
    finally:
        node.stop()
        if seconds:
            shutil.rmtree(node.data, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
