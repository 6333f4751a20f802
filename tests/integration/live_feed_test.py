"""live_feed_test.py - goal: `stoad --live binance` mirrors a venue over TLS exactly, through lost, doubled and reordered
diffs and cut connections, and talks to nobody it cannot verify. Method: a real stoad against tests/venue_server.py; what
`stoa` shows of the mirror must become what the venue says is true.

SPDX-License-Identifier: Apache-2.0
"""
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

BIN = os.environ["STOA_BIN"]
SOURCE = os.environ["STOA_SOURCE"]


class Venue:
    def __init__(self):
        self.folder = folder = tempfile.mkdtemp(prefix="stoa-venue-")
        self.process = subprocess.Popen([sys.executable, os.path.join(SOURCE, "tests", "venue_server.py"), folder, "3"],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.door = json.loads(self.process.stdout.readline())

    def tell(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        truth = json.loads(self.process.stdout.readline())
        assert "error" not in truth, truth
        return truth

    def close(self):
        self.process.stdin.close()
        self.process.wait(60)
        shutil.rmtree(self.folder)


class Node:
    def __init__(self, venue, ca, host="localhost"):
        self.folder = tempfile.mkdtemp(prefix="stoa-live-")
        self.log = open(os.path.join(self.folder, "log"), "wb")
        self.process = subprocess.Popen(
            [os.path.join(BIN, "stoad"), "--data", self.folder, "--live", "binance", f"--market.host={host}",
             f"--market.port={venue.door['port']}", "--market.rest_host=localhost",
             f"--market.rest_port={venue.door['port']}", f"--market.ca={ca}", "--http.port=-1",
             f"--gateway.listen=zmq+ipc://{self.folder}/gateway"],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        self.wait_for(lambda: self.book() is not None, "the node did not start")

    def book(self):
        """The mirror as the REPL shows it, or None."""
        answer = subprocess.run([os.path.join(BIN, "stoa"), "--data", self.folder, "-o", "json", "--eval",
                                 "book binance.BTCUSDT 1"], capture_output=True, text=True, check=False)
        return json.loads(answer.stdout) if answer.returncode == 0 else None

    def book_now(self):
        found = []
        self.wait_for(lambda: found.append(self.book()) or found[-1], "stoa shows no book")
        return found[-1]["book"]

    def wait_for(self, true, otherwise, seconds=60):
        until = time.monotonic() + seconds
        while not true():
            if self.process.poll() is not None or time.monotonic() > until:
                with open(os.path.join(self.folder, "log"), encoding="utf-8") as log:
                    raise AssertionError(f"{otherwise}\n{self.book()}\n{log.read()[-4000:]}")
            time.sleep(0.05)

    def logged(self, event):
        with open(os.path.join(self.folder, "log"), encoding="utf-8") as log:
            return log.read().count(f'"event":"{event}"')

    def agrees(self, truth):
        shown = self.book()
        if not shown:  # it took longer than stoa waits
            return False
        book, best = shown["book"], shown["levels"][:1]
        return (book["status"] == "live" and book["last_id"] == truth["last_id"] and best and
                float(best[0]["bid"]) == float(truth["bid"]) and float(best[0]["ask"]) == float(truth["ask"]))

    def wait_for_truth(self, venue, after):
        truth = venue.tell("state")
        self.wait_for(lambda: self.agrees(truth), f"after {after} the mirror is not {truth}")
        return self.book_now()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        self.log.close()
        shutil.rmtree(self.folder)
        return code


def check_a_mirrored_market(venue):
    node = Node(venue, venue.door["ca"])
    node.wait_for(lambda: venue.tell("state")["connections"] == 1, "no connection was made")
    venue.tell("diffs 200")
    book = node.wait_for_truth(venue, "200 diffs")
    assert (book["gaps"], book["resyncs"]) == (0, 0), book
    gaps = 0
    for resyncs, fault in enumerate(("drop", "double", "reorder"), 1):
        venue.tell(fault)
        venue.tell("diffs 5")
        book = node.wait_for_truth(venue, fault)
        gaps += fault != "double"
        assert (book["gaps"], book["resyncs"]) == (gaps, resyncs), (fault, book)
    for made, end in ((2, "close"), (3, "cut")):
        venue.tell(end)
        venue.tell("diffs 5")
        node.wait_for(lambda: venue.tell("state")["connections"] == made, f"no new connection after {end}")
        venue.tell("diffs 5")
        node.wait_for_truth(venue, end)
    assert node.logged("venue_connected") == 3 and node.logged("venue_lost") == 2
    assert node.stop() == 0


def check_an_unverified_venue(venue):
    before = venue.tell("state")["connections"]
    node = Node(venue, venue.door["other_ca"])
    node.wait_for(lambda: node.logged("venue_lost") >= 2, "it did not try")
    assert venue.tell("state")["connections"] == before
    assert node.book_now()["status"] == "waiting"
    assert node.stop() == 0


def check_a_host_without_address(venue):
    node = Node(venue, venue.door["ca"], host="venue.invalid")
    node.wait_for(lambda: node.logged("venue_lost") >= 2, "nothing was said")
    assert node.stop() == 0


def main():
    venue = Venue()
    try:
        check_a_mirrored_market(venue)
        check_an_unverified_venue(venue)
        check_a_host_without_address(venue)
    finally:
        venue.close()
    print("the live market was mirrored")


if __name__ == "__main__":
    main()
