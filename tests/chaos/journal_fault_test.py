"""journal_fault_test.py - goal: whatever the disk does, the journal has all that it said was synced, byte by byte, or refuses by
name. Method: journal_driver appends, syncs, purges and puts on RocksDB, with tests/shim/disk.c between it and its files; each
round draws a fault (the power fails, a sync fails, the disk fills up and has space again, two bytes rot, or a plain SIGKILL),
and then everything is read back on a good disk. Half of the folders are sealed with a key.

About half a minute; STOA_DEEP runs 2,000 rounds. The seed is printed; STOA_SEED repeats it, STOA_FAULT runs one kind only.

SPDX-License-Identifier: Apache-2.0
"""
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time

from failed_sync import ERRORS, FailedSync

TESTS = os.path.join(os.environ["STOA_BUILD"], "tests")
STOAD = os.path.join(os.environ["STOA_BIN"], "stoad")
ROUNDS = 2000 if os.environ.get("STOA_DEEP") else 40
ROUNDS_OF_FOLDER = 10
SEED = int(os.environ.get("STOA_SEED", time.time_ns() & 0xFFFFFFFF))
EXIT_POWER = 137


class Wrong(Exception):
    pass


class Journal:
    def __init__(self, folder, sealed):
        self.folder, self.path = folder, os.path.join(folder, "j")
        self.keys = []
        self.synced, self.first = 0, 1  # as the driver said last
        if sealed:
            self.keys = [os.path.join(folder, "keys")]
            subprocess.run([STOAD, "--new-key", *self.keys], check=True, capture_output=True)

    def run(self, chance, steps, faults, goes_on=lambda: False):
        """Until it ends, or has made so many steps and is killed, unless it is to go on. Its exit status and its words but for
        the steps."""
        environment = dict(os.environ, **faults)
        if faults:
            environment.update(LD_PRELOAD=os.path.join(TESTS, "disk_shim.so"), STOA_DISK_ROOT=self.folder,
                               STOA_DISK_SEED=str(chance.getrandbits(32)), STOA_DISK_SAID=os.path.join(self.folder, "said"),
                               ASAN_OPTIONS="verify_asan_link_order=0")
        words = []
        with subprocess.Popen([os.path.join(TESTS, "journal_driver"), "run", self.path, str(chance.getrandbits(32)), *self.keys],
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment) as process:
            timer = threading.Timer(60, process.kill)
            timer.start()
            for line in process.stdout:
                if line.startswith("at "):
                    last, self.synced, self.first = [int(word) for word in line.split()[1:]]
                    steps -= not goes_on()
                    if steps == 0:
                        process.kill()
                elif line.startswith("wrong"):
                    raise Wrong(line)
                else:
                    words.append(line.strip())
                    if words.count("full") == 3 and faults.get("STOA_DISK_SPACE"):
                        open(faults["STOA_DISK_SPACE"], "w").close()
            process.wait()
            timer.cancel()
            return process.returncode, words

    def said(self):
        try:
            with open(os.path.join(self.folder, "said"), encoding="utf-8") as said:
                return said.read()
        except FileNotFoundError:
            return ""

    def check(self):
        """What the driver finds, and whether it is no less than it said."""
        done = subprocess.run([os.path.join(TESTS, "journal_driver"), "check", self.path, *self.keys], capture_output=True,
                              text=True, timeout=120)
        words = done.stdout.split()
        if not words or words[0] == "wrong":
            raise Wrong(f"{done.stdout} {done.stderr} {done.returncode}")
        if words[0] == "ok":
            first, last = int(words[1]), int(words[2])
            if last < self.synced or first < self.first:
                raise Wrong(f"{done.stdout}: it had said {self.synced} synced, {self.first} first")
            self.synced, self.first = last, first
        return words, done.stderr

    def must_be_right(self):
        words, said = self.check()
        if words[0] != "ok" or words[-1] == "side":
            raise Wrong(f"{words} {said}")


def round_of_kill(journal, chance):
    journal.run(chance, chance.randint(1, 200), {})
    journal.must_be_right()
    return "killed"


def round_of_power(journal, chance):
    code, _ = journal.run(chance, 5000, {"STOA_DISK_CRASH": str(chance.randint(1, 120))})
    if code != EXIT_POWER:
        raise Wrong(f"it ended with {code}")
    journal.must_be_right()
    return "power failed"


def round_of_eio(journal, chance):
    already, failed = len(journal.said()), []

    def goes_on():
        """Until a sync fails, and to its end where that must be the end: a table's, in the background, shows at a later step."""
        if not failed:
            last = FailedSync.last(journal.said()[already:], journal.folder)
            failed.extend([last] if last else [])
        return not failed or not failed[0].spare

    faults = {"STOA_DISK_EIO": str(chance.randint(1, 60)), "STOA_DISK_ERROR": str(chance.choice(ERRORS))}
    code, words = journal.run(chance, 100, faults, goes_on)
    goes_on()
    if not failed:
        raise Wrong(f"it ended with {code}, {words}, before a sync failed")
    ended = code == 3
    if ended and words[-1] not in ("error IO", "refused IO"):
        raise Wrong(f"it ended with {code}, {words}")
    if not ended and not failed[0].spare:
        raise Wrong(f"it went on after {failed[0]}")
    journal.must_be_right()
    return f"ended by an error: {failed[0].kind()}" if ended else f"went on without its side store: {failed[0].kind()}"


def round_of_full(journal, chance):
    space = os.path.join(journal.folder, "space")
    code, words = journal.run(chance, 400, {"STOA_DISK_FULL": str(chance.randint(50 << 10, 300 << 10)), "STOA_DISK_SPACE": space})
    if code == 3 and words[-1] != "refused FULL":
        raise Wrong(f"it ended with {code}, {words[-1]}")
    if os.path.exists(space):
        os.unlink(space)
    journal.must_be_right()
    return "refused to open" if code == 3 else "was full and went on" if "full" in words else "was not full"


def round_of_rot(journal, chance):
    journal.run(chance, chance.randint(1, 200), {})
    journal.must_be_right()
    aside = os.path.join(journal.folder, "aside")
    shutil.copytree(journal.path, aside)
    files = [os.path.join(folder, name) for folder, _, names in os.walk(journal.path) for name in names]
    files = sorted(path for path in files if os.path.getsize(path) > 0)
    for _ in range(2):
        with open(chance.choice(files), "r+b") as out:
            at = chance.randrange(os.path.getsize(out.name))
            out.seek(at)
            byte = out.read(1)[0]
            out.seek(at)
            out.write(bytes([byte ^ chance.randint(1, 255)]))
    words, _ = journal.check()
    if words[0] == "refused" and words[1] not in ("CORRUPT", "VERSION"):
        raise Wrong(f"{words}")
    shutil.rmtree(journal.path)
    os.rename(aside, journal.path)
    return "rot refused" if words[0] == "refused" else "rot in what was not needed"


FAULTS = {"kill": round_of_kill, "power": round_of_power, "eio": round_of_eio, "full": round_of_full, "rot": round_of_rot}


def main():
    print(f"seed {SEED}, {ROUNDS} rounds", flush=True)
    chance = random.Random(SEED)
    kinds = [os.environ["STOA_FAULT"]] if os.environ.get("STOA_FAULT") else list(FAULTS)
    outcomes, journal, events = {}, None, 0
    try:
        for number in range(ROUNDS):
            if number % ROUNDS_OF_FOLDER == 0:
                if journal:
                    shutil.rmtree(journal.folder)
                journal = Journal(tempfile.mkdtemp(prefix="stoa-disk-"), number // ROUNDS_OF_FOLDER % 2 == 1)
            kind, before = kinds[number % len(kinds)], journal.synced
            try:
                outcome = FAULTS[kind](journal, chance)
            except Wrong as wrong:
                print(f"round {number}, {kind}: {wrong}", flush=True)
                if os.environ.get("STOA_KEEP"):
                    print(f"kept: {journal.folder}")
                    journal = None
                return 1
            events += journal.synced - before
            outcomes[outcome] = outcomes.get(outcome, 0) + 1
        for outcome, times in sorted(outcomes.items()):
            print(f"{times:5} {outcome}")
        print(f"{ROUNDS} rounds, {events} events: nothing that was synced was lost", flush=True)
        return 0
    finally:
        if journal:
            shutil.rmtree(journal.folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
