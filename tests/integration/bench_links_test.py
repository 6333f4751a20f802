"""bench_links_test.py - goal: the links' benchmark measures every link at every size and says so in lines that can be read.
Method: `bench_links --quick`, a moment each, no peers; each row is there once, in its unit. Values are no matter here: the
program itself compares the sum of all that was read with what was sent, in another process.

SPDX-License-Identifier: Apache-2.0
"""
import json
import os
import subprocess
import sys

PROGRAM = os.path.join(os.environ["STOA_BIN"], "bench_links")
LINKS = {"limit.ring", "shm", "zmq.ipc", "zmq.ipc_frame", "zmq.tcp", "zmq.tcp_frame", "zmq.curve", "zmq.curve_frame"}  # at least
UNITS = {"64": "M msg/s", "1k": "M msg/s", "64k": "M msg/s", "rtt_64": "us", "rtt_64_p99": "us"}


def run(*arguments):
    return subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, timeout=500, check=False)


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
    faults += [f"{link} was not measured" for link in sorted(LINKS - set(seen))]
    faults += [f"{link} was measured at {sizes}" for link, sizes in seen.items() if sizes != list(UNITS)]
    if run("--nonsense").returncode != 2:
        faults.append("an unknown option must be refused with 2")
    if run("--quick", "--only", "nonsense").returncode != 1:
        faults.append("a name that no row has must end with 1")
    print("\n".join(faults) or f"{len(seen)} links, {len(UNITS)} lines each")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
