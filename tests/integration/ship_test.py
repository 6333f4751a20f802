"""ship_test.py - goal: a log and its copy on another process are the same, block by block and with the newest snapshot, however often
either is killed while it is shipped; and where the provider writes memory, blocks and snapshots really go that way. Method: two
processes (tests/ship_driver.c) on real journals over each link: the log grows, makes snapshots and ships, the copy keeps; SIGKILL comes
to one of them at a random moment, again and again. Then the log grows on in peace, and the link's counts say which way its bytes went.
At the end both are opened: every hash, every link of the chain, every block byte for byte, every chunk of the newest snapshot.

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
LAST = 160_000 if DEEP else 8_000  # position; a block has 8 events

PEACE = 4_000  # positions after the last kill, and a snapshot
RING_BYTES = 1 << 20  # as tests/ship_driver.c

# The ways that a ship's bytes go: as the ship's own frames; put, which the link does in frames underneath; put, and written by the
# provider into the other process' memory.
IN_FRAMES, PUT_IN_FRAMES, WRITTEN = "in frames", "put, in frames underneath", "put, written by the provider"

# name, address, keys, the way
LINKS = [
    ("shm", "shm://stoa-ship-{pid}", "-", IN_FRAMES),
    ("ucx+tcp", "ucx+tcp://127.0.0.1:{port}", "-", PUT_IN_FRAMES),
    ("ucx+tcp that writes", "ucx+tcp://127.0.0.1:{port}", "-", WRITTEN),
    ("ucx+tcp with keys", "ucx+tcp://127.0.0.1:{port}", "{keys}", PUT_IN_FRAMES),
    ("ucx+tcp with keys, trusted, that writes", "ucx+tcp://127.0.0.1:{port}", "trusted:{keys}", WRITTEN),
    ("ofi+tcp", "ofi+tcp://127.0.0.1:{port}", "-", PUT_IN_FRAMES),
    ("zmq+tcp with keys", "zmq+tcp://127.0.0.1:{port}", "{keys}", IN_FRAMES),
]
DEEP_ONLY = "ucx+tcp that writes"


def driver(*arguments, writes=False):
    command = [os.path.join(os.environ["STOA_BUILD"], "tests", "ship_driver"), *map(str, arguments)]
    environment = {name: value for name, value in os.environ.items() if name != "STOA_UCX_WRITES"}
    if writes:  # over tcp a provider has to be asked for it
        environment["STOA_UCX_WRITES"] = "1"
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def finished(process):
    out, _ = process.communicate(timeout=WAIT_S)
    assert process.returncode == 0, f"exit {process.returncode}: {out}"
    return out.strip().splitlines()[-1].split()


def field(words, name):
    return int(words[words.index(name) + 1])


def way_of(words):
    """Which way all but the first bytes went; the first ones try whether the provider writes: a ring of them at most."""
    puts, frames, written, framed = (field(words, name) for name in ("puts", "frames", "written", "framed"))
    assert puts + frames > 0, words
    if puts == 0:
        assert (written, framed) == (0, 0), words
        return IN_FRAMES
    assert frames == 0, f"some were put and some were not: {words}"
    assert field(words, "writes_memory") == (written > 0), f"the link says otherwise than it does: {words}"
    if written == 0:
        assert framed > 0, words
        return PUT_IN_FRAMES
    assert framed <= RING_BYTES and written > 2 * RING_BYTES, words
    return WRITTEN


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Pair:
    """A log and its copy; either can be killed and started again."""

    def __init__(self, folder, address, keys, writes):
        self.folder, self.address, self.keys, self.writes = folder, address, keys, writes
        self.copy = self.log = None

    def path(self, name):
        return os.path.join(self.folder, name)

    def start_copy(self):
        self.copy = driver("copy", self.address, self.path("copy"), self.keys, writes=self.writes)
        line = self.copy.stdout.readline()
        assert line.startswith("listening"), f"the copy did not start: {line} {self.copy.wait(WAIT_S)}"

    def start_log(self, last=LAST):
        self.log = driver("log", self.address, self.path("log"), last, self.keys, writes=self.writes)

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
    name, address, keys, way = link
    if "{keys}" in keys:
        finished_keys = driver("keys", folder)
        assert finished_keys.wait(WAIT_S) == 0
    pair = Pair(folder, address.format(pid=os.getpid(), port=free_port()), keys.format(keys=folder), way == WRITTEN)
    began = time.monotonic()
    killed = {"log": 0, "copy": 0}
    try:
        pair.start_copy()
        pair.start_log()
        for _ in range(KILLS):
            time.sleep(chance.uniform(0.05, 1.0))
            which = chance.choice(["log", "copy"])
            killed[which] += pair.kill(which)
        assert finished(pair.log)[:3] == ["done", str(LAST), str(LAST)]
        end = str(LAST + PEACE)
        pair.start_log(end)
        words = finished(pair.log)
        assert words[:3] == ["done", end, end], words
        assert way_of(words) == way, f"{name}: bytes went {way_of(words)}: {words}"
        pair.copy.terminate()
        assert finished(pair.copy) == ["copy", end, end]
        same, last, snapshot, blocks = finished(driver("check", pair.path("log"), pair.path("copy")))
        assert (same, last, snapshot) == ("same", end, end)
    finally:
        pair.stop()
    written, framed = field(words, "written"), field(words, "framed")
    print(f"{name}: {blocks} blocks and a snapshot are the same, {way} (at last {written >> 10} KiB written, {framed >> 10} KiB framed); "
          f"killed: log {killed['log']}, copy {killed['copy']}; {time.monotonic() - began:.1f} s", flush=True)


def main():
    seed = int(os.environ.get("STOA_TEST_SEED", time.time()))
    print(f"STOA_TEST_SEED={seed}", flush=True)
    chance = random.Random(seed)
    only = sys.argv[1] if len(sys.argv) > 1 else ""
    for link in LINKS:
        if link[0] != only if only else link[0] == DEEP_ONLY and not DEEP:
            continue
        folder = tempfile.mkdtemp(prefix="stoa-ship-")
        try:
            ship(folder, chance, link)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
