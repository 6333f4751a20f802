"""bench_test.py - goal: the runtime's benchmark measures every row it promises, and says so in lines that can be read. Method:
`bench_runtime --quick`, a thousandth of the work, no peers; each line is JSON with the fields that bench/README.md names, each
row is there once and in the table's unit, and arguments that mean nothing are refused. What the values are is no matter here: the
program itself compares what was read with what was sent.

SPDX-License-Identifier: Apache-2.0
"""
import json
import os
import subprocess
import sys

PROGRAM = os.path.join(os.environ["STOA_BIN"], "bench_runtime")

# name without "runtime.": unit, whether there is a goal
ROWS = {
    "pingpong": ("ns/RTT", True), "ring": ("ns/hop", True), "cross": ("ns/RTT", True), "counting": ("M msg/s", True),
    "fanin": ("M msg/s", True), "big": ("M msg/s", True), "chameneos": ("M meetings/s", True),
    "create": ("M actors/s", True), "idle": ("bytes", True), "request": ("ns/call", True),
    "restart": ("M restarts/s", True), "restart_10k": ("M restarts/s", True), "timer": ("ns", True),
    "timer_cancel": ("ns", True), "wake": ("us", True), "watched": ("ns/RTT", True),
    "fanout": ("M msg/s", False), "choose": ("ns", False), "seen": ("ns/RTT", True),
    "limit.clock": ("ns", False), "limit.atomic": ("ns", False), "limit.malloc": ("ns", False), "limit.call": ("ns/hop", False),
    "limit.cache_line": ("ns/RTT", False), "limit.ring": ("M msg/s", False), "limit.ring_batched": ("M msg/s", False),
    "limit.futex": ("us", False),
}


def run(*arguments):
    return subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, timeout=300, check=False)


def faults_of(line):
    """What is wrong with one line that was measured."""
    unit, goal = ROWS[line["bench"].removeprefix("runtime.")]
    if line["unit"] != unit:
        yield f"the unit is {line['unit']}, not {unit}"
    if not line["min"] <= line["value"] <= line["max"]:
        yield "the value is not between min and max"
    if line["n"] < 1 or line["cores"] not in (1, 2):
        yield "n or cores cannot be"
    if ("goal" in line, "ok" in line) != (goal, goal):
        yield "goal and ok are there if, and only if, the row has a goal"
    for value in line.get("by_cores", []):
        if not value > 0:
            yield f"by_cores has {value}"


def check_all():
    quick = run("--quick")
    if quick.returncode != 0:
        yield f"bench_runtime --quick ended with {quick.returncode}:\n{quick.stderr}"
        return
    lines = [json.loads(line) for line in quick.stdout.splitlines()]
    names = sorted(line["bench"] for line in lines)
    if names != sorted("runtime." + name for name in ROWS):
        yield f"the rows are {names}"
        return
    for line in lines:
        yield from (f"{line['bench']}: {fault}" for fault in faults_of(line))


def check_arguments():
    only = run("--quick", "--only", "ring")
    names = {json.loads(line)["bench"] for line in only.stdout.splitlines()}
    if names != {"runtime.ring", "runtime.limit.ring", "runtime.limit.ring_batched"}:
        yield f"--only ring measured {sorted(names)}"
    if run("--nonsense").returncode != 2:
        yield "an unknown option must be refused with 2"
    if run("--quick", "--only", "nonsense").returncode != 1:
        yield "a name that no row has must end with 1"


def main():
    faults = [*check_all(), *check_arguments()]
    print("\n".join(faults) or f"{len(ROWS)} rows, one line each")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
