"""testing_guide_test.py - goal: docs/guide/testing.md shows what is, and its example passes. Method: every block of C in it stands,
line by line, in examples/test_actor.c, in the same order; its table of faults is the simulator's; its commands run; the example
passes. (What a failed expectation says: tests/sim/kit_test.c.)

SPDX-License-Identifier: Apache-2.0
"""
import os
import re
import shlex
import subprocess
import sys

SOURCE, BIN = os.environ["STOA_SOURCE"], os.environ["STOA_BIN"]
EXAMPLE = os.path.join(BIN, "example_test_actor")


def read(*path):
    with open(os.path.join(SOURCE, *path), encoding="utf-8") as file:
        return file.read()


def run(*arguments):
    done = subprocess.run([EXAMPLE, *arguments], capture_output=True, text=True, timeout=500, check=False)
    return done.returncode, done.stdout, done.stderr


def check_blocks(guide, example):
    blocks = re.findall(r"^```c\n(.*?)^```$", guide, re.M | re.S)
    if len(blocks) < 10:
        yield f"only {len(blocks)} blocks of C"
    at = 0
    for block in blocks:
        found = example.find("\n" + block, at)
        if found < 0:
            yield f"examples/test_actor.c does not have this block, or not behind the one before it:\n{block}"
        at = max(at, found)


def check_faults(guide):
    """The table of faults is STOA_SIM_FAULTS, word by word."""
    rows = re.findall(r"FAULT\((\w+), \"[\w-]+\", \w+, [\w()]+,\s+\"([^\"]*)\"\)", read("runtime", "sim.h"))
    shown = re.findall(r"^\| `STOA_SIM_(\w+)` \| (.*) \|$", guide, re.M)
    if [(name, text.replace("`", "")) for name, text in shown] != rows:
        yield f"the faults are {rows}"


def check_commands(guide):
    commands = [line for block in re.findall(r"^```sh\n(.*?)^```$", guide, re.M | re.S) for line in block.splitlines()]
    if not commands:
        yield "no command is shown"
    for command in commands:
        program, *arguments = shlex.split(command)
        code, out, err = run(*arguments)
        if program != "./test_actor" or code != 0 or len(out.splitlines()) < 10:
            yield f"{command}: {code}\n{out[-500:]}{err}"


def check_example():
    code, out, err = run()
    if code != 0 or "seeds 1..1000 passed" not in out:
        yield f"the example fails: {code}\n{out}{err}"
    code, out, err = run("--nonsense")
    if code != 2 or "usage" not in err:
        yield f"a wrong argument: {code} {out}{err}"
    first, second = run("--hash", "3..5"), run("--twice", "3..5")
    if first != second or len(first[1].splitlines()) != 3:
        yield f"hashes differ: {first} {second}"
    if run("--seed", "3")[1] != first[1].splitlines()[0] + "\n":
        yield "one seed alone gives another hash"


def main():
    guide, example = read("docs", "guide", "testing.md"), read("examples", "test_actor.c")
    faults = [*check_blocks(guide, example), *check_faults(guide), *check_commands(guide), *check_example()]
    print("\n".join(faults) or "the guide shows what is, and its example passes")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
