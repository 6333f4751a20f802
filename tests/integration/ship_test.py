"""ship_test.py - goal: a log and its copy on another process are the same, block by block and with the newest snapshot, however often
either is killed while it is shipped. Method: two processes (tests/ship_driver.c) on real journals over each link: the log grows, makes
snapshots and ships, the copy keeps; SIGKILL comes to one of them at a random moment, again and again. At the end both are opened:
every hash, every link of the chain, every block byte for byte, every chunk of the newest snapshot.

SPDX-License-Identifier: Apache-2.0
"""
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time

WAIT_S = 240
DEEP = bool(os.environ.get("STOA_DEEP"))
KILLS = 30 if DEEP else 4
LAST = 160_000 if DEEP else 12_000  # position; a block has 8 events

# name, address, with keys, one-sided
LINKS = [
    ("shm", "shm://stoa-ship-{pid}", False, False),
    ("ucx+tcp", "ucx+tcp://127.0.0.1:{port}", False, True),
    ("ucx+tcp with keys", "ucx+tcp://127.0.0.1:{port}", True, True),
    ("ofi+tcp", "ofi+tcp://127.0.0.1:{port}", False, True),
    ("zmq+tcp with keys", "zmq+tcp://127.0.0.1:{port}", True, False),
]


def driver(*arguments, **how):
    command = [os.path.join(os.environ["STOA_BUILD"], "tests", "ship_driver"), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **how)


def finished(process):
    out, _ = process.communicate(timeout=WAIT_S)
    assert process.returncode == 0, f"exit {process.returncode}: {out}"
    return out.strip().splitlines()[-1].split()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Pair:
    """A log and its copy; either can be killed and started again."""

    def __init__(self, folder, address, keys):
        self.folder, self.address, self.keys = folder, address, keys
        self.copy = self.log = None

    def path(self, name):
        return os.path.join(self.folder, name)

    def start_copy(self):
        self.copy = driver("copy", self.address, self.path("copy"), self.keys)
        line = self.copy.stdout.readline()
        assert line.startswith("listening"), f"the copy did not start: {line} {self.copy.wait(WAIT_S)}"

    def start_log(self):
        self.log = driver("log", self.address, self.path("log"), LAST, self.keys)

    def kill(self, which):
        process = getattr(self, which)
        if process.poll() is not None:
            return False
        process.kill()
        process.wait(WAIT_S)
        process.stdout.close()
        getattr(self, "start_" + which)()
        return True

    def stop(self):
        for process in (self.copy, self.log):
            if process and process.poll() is None:
                process.kill()
                process.wait(WAIT_S)


def ship(folder, chance, link):
    name, address, with_keys, one_sided = link
    keys = folder if with_keys else "-"
    if with_keys:
        finished_keys = driver("keys", folder)
        assert finished_keys.wait(WAIT_S) == 0
    pair = Pair(folder, address.format(pid=os.getpid(), port=free_port()), keys)
    began = time.monotonic()
    killed = {"log": 0, "copy": 0}
    try:
        pair.start_copy()
        pair.start_log()
        for _ in range(KILLS):
            time.sleep(chance.uniform(0.05, 1.0))
            which = chance.choice(["log", "copy"])
            killed[which] += pair.kill(which)
        what, last, snapshot, _, _, sided = finished(pair.log)
        assert (what, int(last), int(snapshot), bool(int(sided))) == ("done", LAST, LAST, one_sided), (what, last, snapshot, sided)
        pair.copy.terminate()
        assert finished(pair.copy) == ["copy", str(LAST), str(LAST)]
        same, last, snapshot, blocks = finished(driver("check", pair.path("log"), pair.path("copy")))
        assert (same, int(last), int(snapshot)) == ("same", LAST, LAST)
    finally:
        pair.stop()
    print(f"{name}: {blocks} blocks and a snapshot are the same; killed: log {killed['log']}, copy {killed['copy']}; "
          f"{time.monotonic() - began:.1f} s", flush=True)


def main():
    seed = int(os.environ.get("STOA_TEST_SEED", time.time()))
    print(f"STOA_TEST_SEED={seed}", flush=True)
    chance = random.Random(seed)
    only = sys.argv[1] if len(sys.argv) > 1 else ""
    for link in LINKS:
        if only and link[0] != only:
            continue
        folder = tempfile.mkdtemp(prefix="stoa-ship-")
        try:
            ship(folder, chance, link)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
