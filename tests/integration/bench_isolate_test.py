"""bench_isolate_test.py - goal: the isolates' benchmark measures its rows and says so in lines that can be read. Method:
`bench_isolate --quick`; each row is there once, in its unit. Values are no matter here.

SPDX-License-Identifier: Apache-2.0
"""
import json
import os
import subprocess
import sys

PROGRAM = os.path.join(os.environ["STOA_BIN"], "bench_isolate")
ROWS = {"isolate.ask_1": True, "isolate.ask_64": True, "isolate.spawn": False, "isolate.life": False}  # beside the node's own?


def main():
    quick = subprocess.run([PROGRAM, "--quick"], capture_output=True, text=True, timeout=300, check=False)
    if quick.returncode != 0:
        print(f"bench_isolate --quick ended with {quick.returncode}:\n{quick.stderr}")
        return 1
    lines = [json.loads(line) for line in quick.stdout.splitlines()]
    faults = [f"{line['bench']}: not between min and max" for line in lines if not 0 < line["min"] <= line["value"] <= line["max"]]
    faults += [f"{line['bench']}: unit or peer" for line in lines if line["unit"] != "us" or ROWS.get(line["bench"]) != ("peer" in line)]
    if [line["bench"] for line in lines] != list(ROWS):
        faults.append(f"rows: {[line['bench'] for line in lines]}")
    print("\n".join(faults) or f"{len(lines)} lines")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
