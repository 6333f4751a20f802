"""bench_remote_test.py - goal: the benchmark of messages between nodes measures its rows over each link, beside the same within a node, and
says so in lines that can be read. Method: `bench_remote --quick`, whose own counts and sums are checked on the way; each row is there
once, in its unit. Values are no matter here.

SPDX-License-Identifier: Apache-2.0
"""
import json
import os
import subprocess
import sys

PROGRAM = os.path.join(os.environ["STOA_BIN"], "bench_remote")
ROWS = [(f"remote.{wire}.{what}", unit) for wire in ("shm", "zmq", "ucx")
        for what, unit in (("send", "/s"), ("rtt_p50", "us"), ("rtt_p99", "us"))]


def main():
    quick = subprocess.run([PROGRAM, "--quick"], capture_output=True, text=True, timeout=300, check=False)
    if quick.returncode != 0:
        print(f"bench_remote --quick ended with {quick.returncode}:\n{quick.stderr}")
        return 1
    lines = [json.loads(line) for line in quick.stdout.splitlines()]
    faults = [f"{line['bench']}: not between min and max" for line in lines if not 0 < line["min"] <= line["value"] <= line["max"]]
    faults += [f"{line['bench']}: no peer" for line in lines if line.get("peer") != "in the node" or not line["peer_value"] > 0]
    if [(line["bench"], line["unit"]) for line in lines] != ROWS:
        faults.append(f"rows: {[line['bench'] for line in lines]}")
    print("\n".join(faults) or f"{len(lines)} lines")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
