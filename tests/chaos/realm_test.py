"""realm_test.py - goal: whatever ends a node with several shards, and whatever its disk does, money between the shards is conserved,
nothing acknowledged is lost, nothing happens twice, and the logs give the live states; or a refusal says by name why not. Method: a
whole node (chaos_realm) whose accounts in three shards pay each other and trade without a pause. Each round draws what happens:

    kill    SIGKILL at a random moment
    lost    the power fails at a random sync, and all that was not synced is gone
    torn    the same, and of each file's unsynced end a part is there, its end zeroes or garbage
    eio     a random sync fails: the node ends with status 70 and says so, or refuses to start; it goes on only where no log leans
            on that file (failed_sync.py)
    full    the disk is full after a random number of bytes: with a reserve new work is refused with FULL and reads are answered,
            without one payments wait; with space again it goes on
    rot     two random bytes in any files of the node's folder are changed while it is down: all is as it was, or a refusal at the
            start, or by who reads the log, says so

Then it is started on a good disk and audits itself (realm.c says what is compared). Folders take turns: as a node is by default; one
that makes snapshots, archives and purges all the time; one that is sealed with a key. About a minute; STOA_DEEP runs 3,000 kills and 300 of
each fault. The seed is printed; STOA_SEED repeats all choices (how far payments come is real time), STOA_FAULT=eio,full runs
those kinds only, STOA_KEEP keeps the folder of a round that failed.

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
from collections import Counter

from failed_sync import ERRORS, FailedSync

TESTS = os.path.join(os.environ["STOA_BUILD"], "tests")
STOAD = os.path.join(os.environ["STOA_BIN"], "stoad")
DEEP = bool(os.environ.get("STOA_DEEP"))
SEED = int(os.environ.get("STOA_SEED", time.time_ns() & 0xFFFFFFFF))
ROUNDS = {"kill": 3000 if DEEP else 30, **{kind: 300 if DEEP else 5 for kind in ("lost", "torn", "eio", "full", "rot")}}
ROUNDS_OF_FOLDER = 20
EXIT_REFUSED, EXIT_JOURNAL, EXIT_POWER, WAIT_S = 1, 70, 137, 120
HURRIED = ["archive.interval=100ms", "archive.segment=8KiB", "snapshot.every_events=200", "snapshot.every=300ms",
           "retention.orders.hot=1s", "retention.orders.warm=3s", "retention.trades.hot=1s", "retention.trades.warm=3s",
           "retention.chat.hot=1s", "retention.chat.warm=3s"]
# what a node may call damage that it finds; INVALID: a key's file that holds none
DAMAGE = ("CORRUPT", "VERSION", "FORKED", "GAP", "GONE", "STALE", "INVALID")


class Wrong(Exception):
    pass


class Life:
    """One process, from its start to its end."""

    def __init__(self, realm, faults, flags):
        environment = dict(os.environ)
        if faults:
            environment.update(faults, LD_PRELOAD=os.path.join(TESTS, "disk_shim.so"), STOA_DISK_ROOT=realm.data,
                               STOA_DISK_SAID=realm.path("said"), ASAN_OPTIONS="verify_asan_link_order=0")
        self.realm = realm
        self.log_from = os.path.getsize(realm.path("log")) if os.path.exists(realm.path("log")) else 0
        with open(realm.path("log"), "ab") as log:
            self.process = subprocess.Popen(
                [os.path.join(TESTS, "chaos_realm"), realm.path("notes"), str(realm.lives), "node.data=" + realm.data,
                 "gateway.listen=zmq+ipc://" + realm.path("gw"), "http.port=-1", "log.level=warn", *realm.flags, *flags],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=environment)
        self.first = self.process.stdout.readline().split()

    def up(self):
        return self.first == ["up"]

    def tell(self, line):
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass

    def ask(self, line):
        """The words of the answer; none: it ended."""
        self.tell(line)
        return self.process.stdout.readline().split()

    def end(self, number=signal.SIGKILL):
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait()
        try:
            self.process.stdin.close()
        except BrokenPipeError:  # it had ended before it read the last line
            pass
        self.process.stdout.close()
        return code

    def wait(self, seconds):
        """Its exit status; None: it goes on."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def log(self):
        with open(self.realm.path("log"), errors="replace") as log:
            log.seek(self.log_from)
            return log.read()

    def logged(self, event, words=("",)):
        return any(f'"{event}"' in line and any(word in line for word in words) for line in self.log().splitlines())


class Realm:
    """A folder, and the good process on it."""

    def __init__(self, number):
        self.folder = tempfile.mkdtemp(prefix="stoa-realm-")
        self.data = self.path("data")
        self.flags = [[], HURRIED, ["storage.key_file=" + self.path("key")]][number % 3]
        self.lives, self.life, self.payments, self.orders = 0, None, 0, 0
        subprocess.run([STOAD, "--new-key", self.path("key")], check=True, capture_output=True)

    def path(self, name):
        return os.path.join(self.folder, name)

    def start(self, faults=None, flags=()):
        self.lives += 1
        self.life = Life(self, faults, flags)
        return self.life

    def audit(self):
        answer = self.life.ask("audit")
        if answer[:1] != ["good"]:
            raise Wrong(f"the audit says {answer}, {self.life.wait(5)}")
        self.payments, self.orders = int(answer[1]), int(answer[2])

    def open(self):
        if not self.start().up():
            raise Wrong(f"it does not start on a good disk: {self.life.first}")
        self.audit()

    def said(self):
        try:
            with open(self.path("said"), encoding="utf-8") as said:
                return said.read()
        except FileNotFoundError:
            return ""

    def close(self, keep=False):
        if self.life:
            self.life.end()
        if keep:
            print(f"kept: {self.folder}")
        else:
            shutil.rmtree(self.folder, ignore_errors=True)


def round_of_kill(realm, chance):
    realm.life.tell("load")
    time.sleep(chance.uniform(0.0, 0.25))
    realm.life.end()
    realm.open()
    return "right"


def power_fails(realm, chance, loss):
    realm.life.end()
    life = realm.start({"STOA_DISK_SEED": str(chance.getrandbits(32)), "STOA_DISK_CRASH": str(chance.randint(1, 400)),
                        "STOA_DISK_LOSS": loss})
    if life.up():
        life.tell("load")
    code = life.wait(WAIT_S)
    if code != EXIT_POWER:
        raise Wrong(f"it ended with {code}, {life.first}")
    life.end()
    realm.open()
    return "right"


def round_of_lost(realm, chance):
    return power_fails(realm, chance, "lost")


def round_of_torn(realm, chance):
    return power_fails(realm, chance, "torn")


def until(condition, what):
    end = time.monotonic() + WAIT_S
    while not condition():
        if time.monotonic() > end:
            raise Wrong(f"{what} did not come")
        time.sleep(0.02)


def round_of_eio(realm, chance):
    realm.life.end()
    already = len(realm.said())
    life = realm.start({"STOA_DISK_SEED": str(chance.getrandbits(32)), "STOA_DISK_EIO": str(chance.randint(1, 400)),
                        "STOA_DISK_ERROR": str(chance.choice(ERRORS))})
    if life.up():
        life.tell("load")
    until(lambda: life.process.poll() is not None or "eio " in realm.said()[already:], "the error")
    failed = FailedSync.last(realm.said()[already:], realm.data)
    if not failed:
        raise Wrong(f"it ended with {life.wait(5)} before a sync failed")
    code = life.wait(1 if failed.spare else WAIT_S)  # a table's, in the background, shows at a later write: the load goes on
    if code == EXIT_JOURNAL:
        if not life.logged("journal_failed", ("IO",)):
            raise Wrong("status 70 without a word")
        outcome = f"ended by name: IO ({failed.kind()}), then right"
    elif code == EXIT_REFUSED:
        if life.first[:1] != ["refused"] or not life.logged("start_failed"):
            raise Wrong(f"it ended with {code}, {life.first}")
        outcome = f"refused to start: {life.first[1]}, then right"
    elif code is None and failed.spare:
        outcome = f"went on ({failed.kind()}), right"
    else:
        raise Wrong(f"it went on after {failed}" if code is None else f"it ended with {code}")
    life.end()
    realm.open()
    return outcome


def round_of_full(realm, chance):
    realm.life.end()
    space, reserve = realm.path("space"), chance.random() < 0.5
    full_after = chance.randint(100 << 10, 400 << 10) + (8 << 20 if reserve else 0)
    life = realm.start({"STOA_DISK_FULL": str(full_after), "STOA_DISK_SPACE": space},
                       ["storage.reserve=8MiB" if reserve else "storage.reserve=0"])
    outcome = f"refused to start: {life.first[-1]}, then right"
    if life.up():
        life.tell("load")
        if reserve:
            until(lambda: probe(life) == ["FULL", "OK"], "FULL, and reads that are answered")
        else:
            until(lambda: life.logged("journal_full") or life.process.poll() is not None, "the end of the space")
        open(space, "w").close()
        until(lambda: probe(life) == ["OK", "OK"], "work with space again")
        if life.ask("stop") != ["stopped"]:
            raise Wrong(f"it ended with {life.wait(5)}")
        realm.audit()
        outcome = "refused by name: FULL, reads answered, right" if reserve else "waited for space, right"
    elif life.first != ["refused", "FULL"]:
        raise Wrong(f"it ended with {life.wait(5)}, {life.first}")
    life.end()
    if os.path.exists(space):
        os.unlink(space)
    realm.open()
    return outcome


def probe(life):
    answer = life.ask("probe")
    if answer[:1] != ["probe"]:
        raise Wrong(f"it ended with {life.wait(5)}")
    return answer[1:]


def flip(path, chance):
    with open(path, "r+b") as out:
        at = chance.randrange(os.path.getsize(path))
        out.seek(at)
        byte = out.read(1)[0]
        out.seek(at)
        out.write(bytes([byte ^ chance.randint(1, 255)]))
    return f"{path} at {at}"


def round_of_rot(realm, chance):
    realm.life.tell("load")
    time.sleep(chance.uniform(0.0, 0.5))
    if realm.life.ask("stop") != ["stopped"]:
        raise Wrong("it ended")
    realm.audit()
    if chance.random() < 0.5:
        realm.life.tell("quit")
        realm.life.wait(WAIT_S)
    realm.life.end()
    aside = realm.path("aside")
    shutil.copytree(realm.data, aside, ignore=shutil.ignore_patterns("*.sock"))
    files = [os.path.join(folder, name) for folder, _, found in os.walk(realm.data) for name in found]
    files = sorted(path for path in files if os.path.isfile(path) and os.path.getsize(path) > 0)
    rotten = [flip(chance.choice(files), chance) for _ in range(2)]
    try:
        outcome = what_became_of(realm.start())
    except Wrong as wrong:
        raise Wrong(f"rot in {rotten}: {wrong}") from None
    realm.life.end()
    shutil.rmtree(realm.data)
    os.rename(aside, realm.data)
    realm.open()
    return outcome


def what_became_of(life):
    """Of rot."""
    if life.first[:1] == ["refused"]:
        if life.first[1] not in DAMAGE or not life.logged("start_failed", DAMAGE):
            raise Wrong(f"{life.first}")
        return f"refused to start: {life.first[1]}"
    answer = life.ask("audit")
    if answer[:1] == ["good"]:
        return "right"
    if answer[:1] == ["rotten"] and answer[1] in DAMAGE:
        return f"serves what is right, and its past is refused by name: {answer[1]}"
    code = life.wait(5)
    if code == EXIT_JOURNAL and life.logged("journal_failed", DAMAGE):
        return "ended by name: " + next(name for name in DAMAGE if life.logged("journal_failed", (name,)))
    raise Wrong(f"{life.first} {answer} {code}")


FAULTS = {"kill": round_of_kill, "lost": round_of_lost, "torn": round_of_torn, "eio": round_of_eio, "full": round_of_full,
          "rot": round_of_rot}


def plan(chance):
    only = os.environ.get("STOA_FAULT", ",".join(ROUNDS)).split(",")
    kinds = [kind for kind, rounds in ROUNDS.items() if kind in only for _ in range(rounds)]
    chance.shuffle(kinds)
    return kinds


def main():
    chance = random.Random(SEED)
    kinds = plan(chance)
    print(f"seed {SEED}, {len(kinds)} rounds", flush=True)
    outcomes, totals, realm, keep = Counter(), Counter(), None, False
    try:
        for number, kind in enumerate(kinds):
            if number % ROUNDS_OF_FOLDER == 0:
                if realm:
                    totals.update(payments=realm.payments, orders=realm.orders)
                    realm.close()
                realm = Realm(number // ROUNDS_OF_FOLDER)
                realm.open()
            try:
                outcomes[f"{kind}: {FAULTS[kind](realm, chance)}"] += 1
            except Wrong as wrong:
                print(f"round {number}, {kind}: {wrong}\n{realm.life.log()[-4000:]}\n{realm.said()[-2000:]}", flush=True)
                keep = bool(os.environ.get("STOA_KEEP"))
                return 1
            if DEEP and number % 100 == 99:
                print(f"round {number + 1}", flush=True)
        totals.update(payments=realm.payments, orders=realm.orders)
        for what, times in sorted(outcomes.items()):
            print(f"{times:5} {what}")
        print(f"{len(kinds)} rounds, {totals['payments']} payments and {totals['orders']} orders in three shards: none lost, none twice, "
              "money conserved, every replay as live", flush=True)
        return 0 if totals["payments"] > len(kinds) else 1
    finally:
        if realm:
            realm.close(keep)


if __name__ == "__main__":
    sys.exit(main())
