"""bench_journal_test.py - goal: the journal's benchmark measures every row it promises, and says so in lines that can be read.
Method: `bench_journal --quick`; each line is JSON with the fields that bench/README.md names, every row is there, with a peer
where it has one. What the values are is no matter here: the program itself compares the logs and states with what was written.

SPDX-License-Identifier: Apache-2.0
"""
import json
import os
import subprocess
import sys

PROGRAM = os.path.join(os.environ["STOA_BIN"], "bench_journal")

# name without "journal.": unit, whether there is a peer
ROWS = {
    "append": ("events/s", True), "append_16": ("events/s", True), "hash": ("GB/s", True),
    "group_commit": ("us", True), "group_commit_p99": ("us", True),
    "replay": ("events/s", False), "recovery": ("s", False), "recovery_snapshot": ("s", True),
    "snapshot": ("us", True), "snapshot_answer": ("us", True), "projection": ("rows/s", True),
}


def faults_of(line):
    """What is wrong with one line."""
    unit, peer = ROWS[line["bench"].removeprefix("journal.")]
    if line["unit"] != unit:
        yield f"the unit is {line['unit']}, not {unit}"
    if not 0 < line["min"] <= line["value"] <= line["max"]:
        yield "the value is not between min and max"
    if ("peer" in line, "peer_value" in line, "ratio" in line) != (peer,) * 3:
        yield "peer, peer_value and ratio are there if, and only if, the row has a peer"
    if ("goal" in line or "ratio_goal" in line) != ("ok" in line):
        yield "a goal comes with ok"


def main():
    quick = subprocess.run([PROGRAM, "--quick"], capture_output=True, text=True, timeout=300, check=False)
    assert quick.returncode == 0, f"bench_journal --quick ended with {quick.returncode}:\n{quick.stderr}"
    lines = [json.loads(line) for line in quick.stdout.splitlines()]
    assert {line["bench"] for line in lines} == {"journal." + name for name in ROWS}, quick.stdout
    faults = [f"{line['bench']}: {fault}" for line in lines for fault in faults_of(line)]
    wrong = subprocess.run([PROGRAM, "--slow"], capture_output=True, text=True, timeout=60, check=False)
    if wrong.returncode != 2 or "usage" not in wrong.stderr:
        faults.append("an unknown argument is not refused with the usage")
    print("\n".join(faults))
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
