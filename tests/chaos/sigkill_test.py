"""sigkill_test.py - goal: whatever was acknowledged survives the node's death. Method: a real stoad is killed with -9 at random
moments while the SDK places orders; it is started again; then every acknowledged order must be there, once, unchanged but for
later fills; all balances must sum to zero; each account must hold what its orders filled, to the last unit.

200 rounds (2,000 with STOA_DEEP: ten stretches of 200, each on a data folder of its own). The seed is printed; STOA_SEED repeats it (the moments of the kills are real time).

SPDX-License-Identifier: Apache-2.0
"""
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

BIN = os.environ["STOA_BIN"]
DRIVER = os.path.join(os.environ["STOA_BUILD"], "tests", "chaos_orders")
STRETCHES = 10 if os.environ.get("STOA_DEEP") else 1
ROUNDS = 200  # of a stretch
SEED = int(os.environ.get("STOA_SEED", time.time_ns() & 0xFFFFFFFF))

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


class Node:
    def __init__(self, folder):
        self.folder = folder
        self.config = os.path.join(folder, "stoa.yaml")
        self.endpoint = "zmq+ipc://" + os.path.join(folder, "gateway.sock")
        with open(self.config, "w") as out:
            out.write(CONFIG)

    def start(self):
        with open(os.path.join(self.folder, "log"), "ab") as log:
            self.process = subprocess.Popen(
                [os.path.join(BIN, "stoad"), "--config", self.config, "--data", os.path.join(self.folder, "data"),
                 "--gateway.listen=" + self.endpoint, "--http.port=-1", "--log.level=warn"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def log(self):
        with open(os.path.join(self.folder, "log")) as log:
            return log.read()[-4000:]


def wait_for(path, seconds):
    until = time.monotonic() + seconds
    while not os.path.exists(path):
        if time.monotonic() > until:
            raise TimeoutError(path)
        time.sleep(0.01)


class Driver:
    """The program that places the orders and checks what has become of them, at the end of a pipe."""

    def __init__(self, node, keys):
        self.process = subprocess.Popen(
            [DRIVER, node.endpoint, os.path.join(keys, "server.pub"), os.path.join(keys, "demo"), "BTCUSDT", str(SEED)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("the driver ended")
        return json.loads(line)


def one_round(node, driver, chance):
    """How many orders were acknowledged, and what is wrong: a text, or None."""
    driver.ask("place 1500")
    time.sleep(chance.uniform(0.02, 0.25))
    node.kill()
    node.start()
    time.sleep(chance.uniform(0.0, 0.1))
    driver.ask("verify")  # also ends the placing
    placed, verified = driver.answer(), driver.answer()
    wrong = any(verified[key] for key in ("lost", "changed", "twice", "unbalanced", "drift", "unanswered"))
    return placed["acknowledged"], f"{placed} {verified}\n{node.log()}" if wrong or placed["errors"] else None


def stretch(first_round, chance):
    """Rounds on one data folder; how many orders were acknowledged, None where one was not kept."""
    folder = tempfile.mkdtemp(prefix="stoa-kill-")
    node, driver, acknowledged = Node(folder), None, 0
    node.start()
    keys = os.path.join(folder, "data", "keys")
    try:
        wait_for(os.path.join(keys, "demo.pub"), 20)
        driver = Driver(node, keys)
        for number in range(first_round, first_round + ROUNDS):
            more, wrong = one_round(node, driver, chance)
            acknowledged += more
            if wrong:
                print(f"round {number}: {wrong}", flush=True)
                return None
            if number % 20 == 19:
                print(f"round {number + 1}: {acknowledged} acknowledged orders, none lost, none twice", flush=True)
        driver.ask("quit")
        return acknowledged
    finally:
        if driver:
            driver.process.kill()
        node.kill()
        shutil.rmtree(folder, ignore_errors=True)


def main():
    print(f"seed {SEED}, {STRETCHES * ROUNDS} rounds", flush=True)
    chance = random.Random(SEED)
    total = 0
    for number in range(STRETCHES):
        acknowledged = stretch(number * ROUNDS, chance)
        if acknowledged is None:
            return 1
        total += acknowledged
    print(f"{STRETCHES * ROUNDS} rounds: {total} acknowledged orders, none lost, none twice", flush=True)
    return 0 if total > STRETCHES * ROUNDS else 1


if __name__ == "__main__":
    sys.exit(main())
