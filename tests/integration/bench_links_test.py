"""bench_links_test.py - goal: the links' benchmark measures every link at every size and says so in lines that can be read.
Method: `bench_links --quick`, a moment each, no peers; each row is there once, in its unit. Values are no matter here: the
program itself compares the sum of all that was read with what was sent, in another process.

SPDX-License-Identifier: Apache-2.0
"""
import json
import os
import re
import signal
import subprocess
import sys
import time

PROGRAM = os.path.join(os.environ["STOA_BIN"], "bench_links")
LINKS = {"limit.ring", "shm", "zmq.ipc", "zmq.ipc_frame", "zmq.tcp", "zmq.tcp_frame", "zmq.curve", "zmq.curve_frame"}
MODULES = {"ucx": {"ucx.tcp", "ucx.keys"}, "ofi": {"ofi.tcp", "ofi.keys"}}  # what is there where the module was built
TRIES = 50
SIZES = ("64", "1k", "64k")
UNITS = {**{size: "M msg/s" for size in SIZES}, **{f"rtt_{size}{tail}": "us" for size in SIZES for tail in ("", "_p99")}}


def run(*arguments):
    return subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, timeout=500, check=False)


def while_it_measures(deed):
    """Do something to the process that writes, while the other one reads: exit status and standard error of the whole."""
    for _ in range(TRIES):
        with subprocess.Popen([PROGRAM, "--only", "links.limit.ring"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as whole:
            writers = []
            while not writers and whole.poll() is None:
                with open(f"/proc/{whole.pid}/task/{whole.pid}/children", encoding="ascii") as children:
                    writers = children.read().split()
            try:
                if writers:
                    deed(int(writers[0]))
            except ProcessLookupError:  # it was done with
                writers = []
            said = whole.communicate(timeout=500)[1]
        if writers:
            return whole.returncode, said
    raise AssertionError("the process that writes was never seen")


def stop_for_a_moment(pid):
    os.kill(pid, signal.SIGSTOP)
    time.sleep(0.3)
    os.kill(pid, signal.SIGCONT)


def faults_of_ends():
    """Who is stopped has not ended; who has is told with how."""
    status, said = while_it_measures(stop_for_a_moment)
    faults = [f"a pause of the other process was taken for its end: {status} {said}"] if status else []
    status, said = while_it_measures(lambda pid: os.kill(pid, signal.SIGKILL))
    if status != 1 or not re.search("the other process ended: signal 9$", said, re.MULTILINE):
        faults.append(f"the end of the other process was not told: {status} {said}")
    return faults


def links_of_modules():
    folder = os.path.join(os.environ["STOA_BUILD"], "lib", "stoa")
    there = [links for name, links in MODULES.items() if os.path.exists(os.path.join(folder, f"link_{name}.so"))]
    return set().union(*there)


def main():
    quick = run("--quick")
    if quick.returncode != 0:
        print(f"bench_links --quick ended with {quick.returncode}:\n{quick.stderr}")
        return 1
    faults = []
    seen = {}
    for line in map(json.loads, quick.stdout.splitlines()):
        link, _, size = line["bench"].removeprefix("links.").rpartition(".")
        seen.setdefault(link, []).append(size)
        if line["unit"] != UNITS.get(size):
            faults.append(f"{line['bench']}: the unit is {line['unit']}")
        if not 0 <= line["min"] <= line["value"] <= line["max"]:
            faults.append(f"{line['bench']}: the value is not between min and max")
    faults += [f"{link} was not measured" for link in sorted((LINKS | links_of_modules()) - set(seen))]
    faults += faults_of_ends()
    faults += [f"{link} was measured at {sizes}" for link, sizes in seen.items() if sizes != list(UNITS)]
    if run("--nonsense").returncode != 2:
        faults.append("an unknown option must be refused with 2")
    if run("--quick", "--only", "nonsense").returncode != 1:
        faults.append("a name that no row has must end with 1")
    print("\n".join(faults) or f"{len(seen)} links, {len(UNITS)} lines each")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
