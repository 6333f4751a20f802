"""isolate_test.py - goal: a plug-in that calls what a handler may call loads in the child, whatever it is. Method: every function
that the shared library shows for turns is shown by stoa-isolate too.

SPDX-License-Identifier: Apache-2.0
"""
import os
import re
import subprocess
import sys

BIN, BUILD = os.environ["STOA_BIN"], os.environ["STOA_BUILD"]
TURNS = re.compile(r"^(stoa_turn_\w+|stoa_fail|stoa_call|stoa_post)$")


def shown(path):
    told = subprocess.run(["nm", "-D", "--defined-only", path], capture_output=True, text=True, check=True).stdout
    return {line.split()[-1].split("@")[0] for line in told.splitlines()}


def main():
    wanted = {name for name in shown(os.path.join(BUILD, "lib", "libstoa.so")) if TURNS.match(name)}
    assert len(wanted) > 50, sorted(wanted)
    missing = wanted - shown(os.path.join(BIN, "stoa-isolate"))
    assert not missing, f"a plug-in that calls these does not load: {sorted(missing)}"
    print(f"a child has the {len(wanted)} functions of a turn")
    return 0


if __name__ == "__main__":
    sys.exit(main())
