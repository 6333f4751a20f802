"""outbox_test.py - goal: what a node has done outside is done once, however often it is killed. Method: a real node (tests/effect_node.c)
on a real journal, and a real server on a socket that knows effects by their names. Charges go to the node; SIGKILL comes at a random
moment, again and again. Charges without an answer are sent again to the next process. At the end every charge has one effect, under
one name, and nothing else was done.

SPDX-License-Identifier: Apache-2.0
"""
import os
import random
import shutil
import socketserver
import subprocess
import sys
import tempfile
import threading
import time

WAIT_S = 60
ROUNDS = 60 if os.environ.get("STOA_DEEP") else 12


class Outside(socketserver.ThreadingTCPServer):
    """Does what it is told, once for each name."""

    daemon_threads, allow_reuse_address = True, True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock, self.done, self.repeated, self.asked, self.slow = threading.Lock(), {}, 0, 0, 0.0

    def handle_line(self, line):
        what, name, number = line.split()
        with self.lock:
            if what == "ask":
                self.asked += 1
                return "done" if name in self.done else "unknown"
            if name in self.done:
                assert self.done[name] == int(number), f"{name} was {self.done[name]} and is {number}"
                self.repeated += 1
            self.done[name] = int(number)
            return "done"


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        try:
            for line in self.rfile:
                time.sleep(self.server.slow)
                self.wfile.write((self.server.handle_line(line.decode()) + "\n").encode())
        except OSError:
            pass  # the node was killed


def start(folder, outside):
    command = [os.path.join(os.environ["STOA_BUILD"], "tests", "effect_node"), folder, str(outside.server_address[1])]
    node = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert node.stdout.readline() == "ready\n", f"it did not start: {node.wait(WAIT_S)}"
    return node


def round_of(node, numbers, chance, acked):
    """Charge, until the node is killed at some moment."""
    killer = threading.Timer(chance.uniform(0.005, 0.25), node.kill)
    killer.start()
    try:
        for number in numbers:
            node.stdin.write(f"{number}\n")
            node.stdin.flush()
            line = node.stdout.readline()
            if not line:
                break
            assert line == f"ok {number}\n", line
            acked.add(number)
    except BrokenPipeError:
        pass
    killer.join()
    node.wait(WAIT_S)


def main():
    seed = int(os.environ.get("STOA_TEST_SEED", random.randrange(1 << 30)))
    print(f"STOA_TEST_SEED={seed}")
    chance = random.Random(seed)
    folder = tempfile.mkdtemp(prefix="stoa-outbox-")
    outside = Outside()
    threading.Thread(target=outside.serve_forever, daemon=True).start()
    acked, sent = set(), 0
    try:
        for _ in range(ROUNDS):
            outside.slow = chance.choice([0.0, 0.001, 0.01])
            missing = [n for n in range(1, sent + 1) if n not in acked]
            fresh = list(range(sent + 1, sent + 201))
            before = len(acked)
            round_of(start(folder, outside), missing + fresh, chance, acked)
            sent = max([sent] + list(acked)) + 1 if len(acked) > before else max(sent, 1)
        outside.slow = 0.0
        node = start(folder, outside)
        for number in [n for n in range(1, sent + 1) if n not in acked]:
            node.stdin.write(f"{number}\n")
            node.stdin.flush()
            assert node.stdout.readline() == f"ok {number}\n"
        until = time.monotonic() + WAIT_S
        while True:
            node.stdin.write("outbox\n")
            node.stdin.flush()
            pending, done, failed = (int(word) for word in node.stdout.readline().split()[1:])
            if pending == 0:
                break
            assert time.monotonic() < until, f"{pending} are still pending"
            time.sleep(0.05)
        node.stdin.write("quit\n")
        node.stdin.flush()
        assert node.wait(WAIT_S) == 0
        with outside.lock:
            numbers = sorted(outside.done.values())
            assert numbers == list(range(1, sent + 1)), f"{len(numbers)} effects of {sent} charges"
            assert done == sent and failed == 0, (done, failed, sent)
            print(f"{sent} charges over {ROUNDS} kills: each done once, under one name; {outside.asked} asked about, "
                  f"{outside.repeated} told twice")
            assert outside.asked > 0
    finally:
        outside.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
