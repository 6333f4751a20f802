"""idle_test.py - goal: a node with nothing to do leaves the CPU alone, core by core as it is told. Method: the CPU time that each
thread of a real stoad has used over some seconds, which no other process on the machine can change; its threads have names.

SPDX-License-Identifier: Apache-2.0
"""
import os
import signal
import subprocess
import sys
import tempfile
import time

BIN = os.environ["STOA_BIN"]
SECONDS = 4

CONFIG = """
node: {cores: 2, idle: %s}
cores: [%s]
accounts: []
symbols: []
clients: []
rooms: []
quoters: []
market: {source: none}
http: {port: -1}
gateway: {listen: "zmq+ipc://%s/gateway.sock"}
"""


def cpu_seconds(pid):
    """Used so far, by thread name; threads of one name together."""
    used = {}
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/comm", encoding="ascii") as comm:
            name = comm.read().strip()
        with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as schedstat:
            used[name] = used.get(name, 0) + int(schedstat.read().split()[0]) / 1e9
    return used


def measure(idle, by_core=""):
    with tempfile.TemporaryDirectory(prefix="stoa-idle-") as folder:
        config = os.path.join(folder, "stoa.yaml")
        with open(config, "w", encoding="ascii") as out:
            out.write(CONFIG % (idle, by_core, folder))
        with open(os.path.join(folder, "log"), "w+", encoding="utf-8") as log:
            node = subprocess.Popen([os.path.join(BIN, "stoad"), "--config", config, "--data", os.path.join(folder, "data")],
                                    stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            try:
                until = time.monotonic() + 60
                while '"event":"ready"' not in open(log.name, encoding="utf-8").read():
                    if node.poll() is not None or time.monotonic() > until:
                        raise AssertionError("the node did not start:\n" + open(log.name, encoding="utf-8").read())
                    time.sleep(0.05)
                time.sleep(0.5)
                before = cpu_seconds(node.pid)
                time.sleep(SECONDS)
                after = cpu_seconds(node.pid)
            finally:
                node.send_signal(signal.SIGTERM)
                node.wait(60)
    return {name: (after[name] - before.get(name, 0)) / SECONDS for name in after}


def in_percent(shares):
    return ", ".join(f"{name} {100 * share:.3f}" for name, share in shares.items())


def main():
    faults = []
    for idle in ("eco", "balanced"):
        shares = measure(idle)
        total = sum(shares.values())
        print(f"{idle}: {100 * total:.3f} % of a CPU: {in_percent(shares)}", flush=True)
        if total >= 0.01:
            faults.append(f"{idle} takes {100 * total:.2f} % of a CPU with nothing to do")
    shares = measure("eco", "{idle: latency}")
    print(f"latency, eco: {in_percent(shares)}", flush=True)
    if shares["stoa-core-0"] < 0.02 or shares["stoa-core-1"] >= 0.01:
        faults.append(f"the first core should spin and the second sleep: {shares}")
    print("\n".join(faults))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
