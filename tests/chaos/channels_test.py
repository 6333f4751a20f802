"""channels_test.py - goal: what is mailed between shards takes effect once or comes back once, though the process dies. Method: a
process with four shards on two cores, each shard on a RocksDB of its own, mails money around in a ring and across, and is killed
with -9 at random moments. Started again it checks itself (chaos_channels): nothing acknowledged is lost, nothing happened twice
or out of order, all money is there, every shard sums to zero, a replay of each log gives the live state.

300 rounds in stretches of 25, with STOA_DEEP 3,000 in stretches of 50, each on a folder of its own. The seed is printed; STOA_SEED
repeats it (the moments of the kills are real time).

SPDX-License-Identifier: Apache-2.0
"""
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

PROGRAM = os.path.join(os.environ["STOA_BUILD"], "tests", "chaos_channels")
PURSES = 8
STRETCH = 50 if os.environ.get("STOA_DEEP") else 25  # each start replays what there is
ROUNDS = 3000 if os.environ.get("STOA_DEEP") else 300
SEED = int(os.environ.get("STOA_SEED", time.time_ns() & 0xFFFFFFFF))


class Life:
    """One run of the program, from its start to its end by a signal."""

    def __init__(self, folder, seed, acknowledged):
        self.process = subprocess.Popen([PROGRAM, folder, str(seed), *map(str, acknowledged)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def good(self):
        """How many payments it has found, all of them in order; None: something is wrong."""
        words = self.process.stdout.readline().split()
        return int(words[1]) if words and words[0] == "good" else None

    def kill(self, acknowledged):
        """End it; note what it had acknowledged."""
        self.process.send_signal(signal.SIGKILL)
        out, err = self.process.communicate()
        for line in out.splitlines():
            purse, number = map(int, line.split())
            acknowledged[purse] = max(acknowledged[purse], number)
        return err


def stretch(first, rounds, chance):
    """How many payments were sent and acknowledged; None where one round went wrong."""
    folder = tempfile.mkdtemp(prefix="stoa-channels-")
    acknowledged, sent = [0] * PURSES, 0
    try:
        for number in range(first, first + rounds + 1):
            life = Life(folder, SEED + number, acknowledged)
            sent = life.good()
            if sent is not None and number < first + rounds:
                time.sleep(chance.uniform(0.0, 0.2))
            err = life.kill(acknowledged)
            if sent is None:
                print(f"round {number}: {err[-4000:]}", flush=True)
                return None
        return sent, sum(acknowledged)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main():
    print(f"seed {SEED}, {ROUNDS} rounds", flush=True)
    chance = random.Random(SEED)
    total = 0
    for first in range(0, ROUNDS, STRETCH):
        found = stretch(first, STRETCH, chance)
        if found is None:
            return 1
        total += found[0]
        print(f"round {first + STRETCH}: {found[0]} payments between shards, the last acknowledged ones {found[1]} in all, "
              "none lost, none twice", flush=True)
    print(f"{ROUNDS} rounds: {total} payments between shards, none lost, none twice", flush=True)
    return 0 if total > ROUNDS else 1


if __name__ == "__main__":
    sys.exit(main())
