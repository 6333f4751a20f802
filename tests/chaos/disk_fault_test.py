"""disk_fault_test.py - goal: whatever the disk does, a node is right or says what is wrong; nothing acknowledged is lost in
silence. Method: a real stoad on RocksDB under load, with tests/shim/disk.c between it and its files. Each round draws a fault:

    power   at a random sync the power fails: unsynced data is gone, tails are torn, overwritten pages are old or new
    eio     a random sync fails: the node must end with status 70 and a last line that says so, or refuse to start; it may go on
            only where the log does not lean on that file (failed_sync.py). A restart recovers
    full    the disk is full after a random number of bytes: new work is refused with FULL, reads are answered, and when there
            is space again orders are taken again; in half of the rounds without a reserve, where orders wait instead. At the
            beginning once: it has no byte left when the node starts
    rot     two random bytes in random files of the journals are changed while the node is down: it must start with everything
            in its place, or refuse to with CORRUPT

Then the node starts on a good disk, and every acknowledged order must be there, once, unchanged but for later fills; all balances
must sum to zero; each account must hold what its orders filled. About a minute; STOA_DEEP runs 600 rounds. The seed is printed;
STOA_SEED repeats all choices (how far orders come before a fault is real time), STOA_FAULT=power runs one kind only.

SPDX-License-Identifier: Apache-2.0
"""
import json
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from failed_sync import ERRORS, FailedSync

BIN = os.environ["STOA_BIN"]
TESTS = os.path.join(os.environ["STOA_BUILD"], "tests")
ROUNDS = 600 if os.environ.get("STOA_DEEP") else 28
SEED = int(os.environ.get("STOA_SEED", time.time_ns() & 0xFFFFFFFF))
EXIT_JOURNAL, EXIT_POWER, WAIT_S = 70, 137, 120

CONFIG = """
symbols:
  - {name: BTCUSDT, base: BTC, quote: USDT, tick: 0.01, lot: 0.00001, qty_min: 0.00001, qty_max: 100}
accounts:
  - {name: treasury, issuer: true}
  - {name: maker}
  - {name: alice, funds: "100000000 USDT, 1000 BTC"}
  - {name: bob, funds: "100000000 USDT, 1000 BTC"}
clients:
  - {name: demo, accounts: "treasury, maker, alice, bob"}
market: {source: none}
"""


class Wrong(Exception):
    pass


class Node:
    def __init__(self, folder):
        self.folder = folder
        self.data = os.path.join(folder, "data")
        self.config = os.path.join(folder, "stoa.yaml")
        self.endpoint = "zmq+ipc://" + os.path.join(folder, "gateway.sock")
        self.process = None
        self.log_from = 0
        with open(self.config, "w") as out:
            out.write(CONFIG)

    def start(self, faults=None, flags=()):
        environment = dict(os.environ)
        if faults:
            preload = os.path.join(TESTS, "disk_shim.so")
            environment.update(faults, LD_PRELOAD=preload, STOA_DISK_ROOT=self.data, ASAN_OPTIONS="verify_asan_link_order=0",
                               STOA_DISK_SAID=os.path.join(self.folder, "said"))
        path = os.path.join(self.folder, "log")
        self.log_from = os.path.getsize(path) if os.path.exists(path) else 0
        with open(path, "ab") as log:
            self.process = subprocess.Popen(
                [os.path.join(BIN, "stoad"), "--config", self.config, "--data", self.data, "--gateway.listen=" + self.endpoint,
                 "--http.port=-1", "--log.level=warn", *flags],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)

    def end(self, number=signal.SIGKILL):
        if self.process and self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait() if self.process else 0

    def log(self):
        """What it said since it was started."""
        with open(os.path.join(self.folder, "log"), errors="replace") as log:
            log.seek(self.log_from)
            return log.read()

    def said(self):
        path = os.path.join(self.folder, "said")
        if not os.path.exists(path):
            return ""
        with open(path) as said:
            return said.read()


class Driver:
    def __init__(self, node):
        keys = os.path.join(node.data, "keys")
        until = time.monotonic() + 60
        while not os.path.exists(os.path.join(keys, "demo.pub")):
            if time.monotonic() > until:
                raise TimeoutError(keys)
            time.sleep(0.01)
        self.process = subprocess.Popen(
            [os.path.join(TESTS, "chaos_orders"), node.endpoint, os.path.join(keys, "server.pub"), os.path.join(keys, "demo"),
             "BTCUSDT", str(SEED)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise Wrong("the driver ended")
        return json.loads(line)

    def answers_within(self, seconds):
        return bool(select.select([self.process.stdout], [], [], seconds)[0])


def check_verified(verified, what):
    if any(verified[key] for key in ("lost", "changed", "twice", "unbalanced", "drift", "unanswered")):
        raise Wrong(f"{what}: {verified}")


def until_serving(node):
    """Whether the node serves; False: it ended."""
    until = time.monotonic() + 60
    while node.process.poll() is None and time.monotonic() < until:
        done = subprocess.run([os.path.join(BIN, "stoa"), "--socket", os.path.join(node.data, "admin.sock"), "--eval", "node"],
                              capture_output=True, text=True)
        if done.returncode == 0:
            return True
        time.sleep(0.02)
    return False


def restart_and_verify(node, driver, placing):
    """On a good disk. How many orders were acknowledged."""
    node.start()
    if not until_serving(node):
        raise Wrong("it does not start on a good disk")
    driver.ask("verify")  # also ends the placing
    placed = driver.answer() if placing else None
    check_verified(driver.answer(), "after the fault")
    return placed["acknowledged"] if placed else 0


def wait_for_end(node, seconds):
    try:
        return node.process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None


def round_of_power(node, driver, chance):
    node.start({"STOA_DISK_SEED": str(chance.getrandbits(32)), "STOA_DISK_CRASH": str(chance.randint(1, 300))})
    driver.ask("place 1500")
    code = wait_for_end(node, 20)
    if code not in (EXIT_POWER, None):
        raise Wrong(f"the node ended with {code}")
    node.end()
    return restart_and_verify(node, driver, True), "ended" if code else "went on"


def until_it_shows(node, driver, already):
    """Orders are placed until a sync has failed, and on until the node has ended: one of a table in the background shows at a
    later write only. What failed, and what became of the placing; None: it has not answered."""
    end, failed, placed = time.monotonic() + WAIT_S, None, None
    while node.process.poll() is None:
        if not failed:
            failed = FailedSync.last(node.said()[already:], node.data)
            end = time.monotonic() + (2 if failed.spare else WAIT_S) if failed else end
        if time.monotonic() > end:
            break
        if not placed:
            placed = driver.answer() if driver.answers_within(0.05) else None
        else:
            driver.ask("probe")
            driver.answer()
    return FailedSync.last(node.said()[already:], node.data), placed


def round_of_eio(node, driver, chance):
    seed, already = str(chance.getrandbits(32)), len(node.said())
    node.start({"STOA_DISK_SEED": seed, "STOA_DISK_EIO": str(chance.randint(1, 300)), "STOA_DISK_ERROR": str(chance.choice(ERRORS))})
    driver.ask("place 1500")
    failed, placed = until_it_shows(node, driver, already)
    code, log = node.process.poll(), node.log()
    if not failed:
        raise Wrong("no sync failed")
    if code == EXIT_JOURNAL:
        outcome = "ended"
        last = [line for line in log.splitlines() if '"journal_failed"' in line]
        if not last or "IO" not in last[-1]:
            raise Wrong("status 70 without a word")
        flight = subprocess.run([os.path.join(BIN, "stoa"), "flight", os.path.join(node.data, "flight")], capture_output=True,
                                text=True).stdout
        if "the journal failed" not in flight:
            raise Wrong("status 70, and the flight recorder has nothing of it")
    elif code is not None:
        outcome = "refused to start"
        if code != 1 or '"start_failed"' not in log:
            raise Wrong(f"the node ended with {code}")
    elif failed.spare:
        outcome = "went on"
    else:
        raise Wrong(f"it went on after {failed}")
    node.end()
    acknowledged = restart_and_verify(node, driver, not placed)
    return placed["acknowledged"] if placed else acknowledged, f"{outcome}: {failed.kind()}"


def round_of_full(node, driver, chance):
    space = os.path.join(node.folder, "space")
    reserve = chance.random() < 0.5
    full_after = chance.randint(100 << 10, 400 << 10) + (8 << 20 if reserve else 0)
    node.start({"STOA_DISK_FULL": str(full_after), "STOA_DISK_SPACE": space},
               ["--storage.reserve=8MiB" if reserve else "--storage.reserve=0"])
    driver.ask("place 2000")
    until, low = time.monotonic() + 30, False
    while not low and node.process.poll() is None and time.monotonic() < until:
        low = '"journal_low"' in node.log() or '"journal_full"' in node.log()
        time.sleep(0.05)
    if node.process.poll() is not None:
        log = node.log()
        if node.process.poll() != 1 or "FULL" not in log:
            raise Wrong(f"the node ended with {node.process.poll()}")
        return restart_and_verify(node, driver, True), "refused to start"
    if not low:
        raise Wrong("the disk was never full")
    acknowledged = 0
    if reserve:
        driver.ask("probe")  # ends the placing
        acknowledged, probed = driver.answer()["acknowledged"], driver.answer()
        if probed != {"place": "FULL", "read": "OK"}:
            raise Wrong(f"on a full disk: {probed}")
    open(space, "w").close()
    until, probed = time.monotonic() + 60, None
    while (not probed or probed["place"] != "OK") and time.monotonic() < until:
        driver.ask("probe")
        if not reserve and acknowledged == 0:
            acknowledged = driver.answer()["acknowledged"] or -1
        probed = driver.answer()
        time.sleep(0.1)
    if probed != {"place": "OK", "read": "OK"}:
        raise Wrong(f"with space again: {probed}")
    driver.ask("verify")
    check_verified(driver.answer(), "with space again")
    node.end()
    os.unlink(space)
    node.start()
    driver.ask("check")
    check_verified(driver.answer(), "started again")
    return max(acknowledged, 0), "with a reserve" if reserve else "without one"


def journal_files(node):
    found = []
    for shard in ("trade", "room"):
        for folder, _, names in os.walk(os.path.join(node.data, shard)):
            found += [os.path.join(folder, name) for name in names if os.path.getsize(os.path.join(folder, name)) > 0]
    return sorted(found)


def flip(path, chance):
    with open(path, "r+b") as out:
        at = chance.randrange(os.path.getsize(path))
        out.seek(at)
        byte = out.read(1)[0]
        out.seek(at)
        out.write(bytes([byte ^ chance.randint(1, 255)]))


def round_of_rot(node, driver, chance):
    node.start()
    driver.ask("place 100")
    placed = driver.answer()
    driver.ask("verify")
    check_verified(driver.answer(), "before the rot")
    node.end(chance.choice([signal.SIGKILL, signal.SIGTERM]))
    aside = os.path.join(node.folder, "aside")
    shutil.copytree(node.data, aside, ignore=shutil.ignore_patterns("*.sock"))
    rotten = [chance.choice(journal_files(node)) for _ in range(2)]
    for path in rotten:
        flip(path, chance)
    node.start()
    if until_serving(node):
        driver.ask("check")
        checked = driver.answer()
        outcome = "started"
        code = node.process.poll()
        if code is None:
            try:
                check_verified(checked, f"with rot in {rotten}")
            except Wrong as wrong:
                raise Wrong(f"{wrong}\n{node.log()}")
    else:
        outcome = "refused"
        if "CORRUPT" not in node.log():
            raise Wrong(f"rot in {rotten}: it ended with {node.process.poll()}")
    node.end()
    shutil.rmtree(node.data)
    os.rename(aside, node.data)
    node.start()
    driver.ask("check")
    check_verified(driver.answer(), "without the rot")
    return placed["acknowledged"], outcome


def check_start_without_space(node, driver):
    """Nothing can be written any more: it says that it is space that is missing, and starts when there is some."""
    node.end()
    node.start({"STOA_DISK_FULL": "1"})
    code = node.process.wait(60)
    if code != 1 or not any('"start_failed"' in line and '"error":"FULL"' in line for line in node.log().splitlines()):
        raise Wrong(f"on a full disk it ended with {code}: {node.log()}")
    restart_and_verify(node, driver, False)


FAULTS = {"power": round_of_power, "eio": round_of_eio, "full": round_of_full, "rot": round_of_rot}


def main():
    print(f"seed {SEED}, {ROUNDS} rounds", flush=True)
    chance = random.Random(SEED)
    kinds = [os.environ["STOA_FAULT"]] if os.environ.get("STOA_FAULT") else list(FAULTS)
    folder = tempfile.mkdtemp(prefix="stoa-disk-")
    node, driver, acknowledged, outcomes, failed = Node(folder), None, 0, {}, False
    node.start()
    try:
        driver = Driver(node)
        driver.ask("check")
        check_verified(driver.answer(), "at the beginning")
        check_start_without_space(node, driver)
        for number in range(ROUNDS):
            node.end()
            kind = kinds[number % len(kinds)]
            try:
                more, outcome = FAULTS[kind](node, driver, chance)
            except Wrong as wrong:
                print(f"round {number}, {kind}: {wrong}\n{node.log()[-4000:]}\n{node.said()[-2000:]}", flush=True)
                failed = True
                return 1
            acknowledged += more
            outcomes[f"{kind}: {outcome}"] = outcomes.get(f"{kind}: {outcome}", 0) + 1
        for what, times in sorted(outcomes.items()):
            print(f"{times:5} {what}")
        print(f"{ROUNDS} rounds: {acknowledged} acknowledged orders, none lost, none twice", flush=True)
        return 0 if acknowledged > ROUNDS else 1
    finally:
        if driver:
            driver.process.kill()
        node.end()
        if failed and os.environ.get("STOA_KEEP"):
            print(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
