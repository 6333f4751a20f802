"""builds.py - goal: a seed gives one hash in every build. Method: the programs of this folder that run seeds (stoa_seeds) print a
hash for each; those of dev (ASan, poisoned memory, -Og), release (-O2) and, where it runs them, tsan are compared.

Each build's own test leaves its hashes beside the program (STOA_HASHES); where there are none of this very program, it is run
here. STOA_BUILDS, which tests/run sets, names the builds that are there and up to date: without it (ctest on one preset)
nothing can be compared, and the test says so and counts as skipped. With it a program that is missing is a fault.

SPDX-License-Identifier: Apache-2.0
"""
import glob
import os
import subprocess
import sys

SKIPPED = 77
NEEDED = ("dev", "release")  # the two that are always compared
DEFAULT_RANGE = (1, 300)


def programs(source):
    """The test programs that run seeds, by name."""
    found = []
    for path in sorted(glob.glob(os.path.join(source, "tests", "sim", "*_test.c"))):
        with open(path, encoding="utf-8") as file:
            if "stoa_seeds_main" in file.read():
                found.append("test_sim_" + os.path.basename(path)[:-len("_test.c")])
    return found


def parse(text):
    lines = (line.split() for line in text.splitlines())
    return {int(words[0]): words[1] for words in lines if len(words) == 2 and words[0].isdigit()}


def kept(program):
    """The hashes that the program's own test left, or None where there are none of this very build of it."""
    path = program + ".hashes"
    if not os.path.exists(path) or os.path.getmtime(path) < os.path.getmtime(program):
        return None
    with open(path, encoding="utf-8") as file:
        return parse(file.read())


def run(program, first, last):
    done = subprocess.run([program, "--hash", f"{first}..{last}"], stdout=subprocess.PIPE, text=True, check=False)
    hashes = parse(done.stdout)
    if done.returncode != 0:
        seed = first + len(hashes)
        print(f"{program} failed at seed {seed}; again:\n    STOA_TEST_SEED={seed} {program} --seed {seed} --trace")
    return hashes


def compare(name, paths):
    """Faults of one program, whose builds are at paths {build: path}."""
    hashes = {build: kept(path) for build, path in paths.items()}
    known = [h for h in hashes.values() if h]
    first, last = (min(known[0]), max(known[0])) if known else DEFAULT_RANGE
    for build in hashes:
        if not hashes[build]:
            hashes[build] = run(paths[build], first, last)
    base = hashes[NEEDED[0]]
    faults = 0
    for build, others in hashes.items():
        differ = [seed for seed in range(first, last + 1) if base.get(seed) is None or others.get(seed) != base[seed]]
        for seed in differ[:1]:
            faults += 1
            print(f"{name}: seed {seed} is {base.get(seed)} in {NEEDED[0]}, {others.get(seed)} in {build} "
                  f"({len(differ)} seeds differ); where they part:\n"
                  f"    diff <({paths[NEEDED[0]]} --seed {seed} --trace) <({paths[build]} --seed {seed} --trace)")
    if not faults:
        print(f"{name}: {len(base)} seeds, the same hashes in {', '.join(sorted(hashes))}")
    return faults


def main():
    builds = os.environ.get("STOA_BUILDS", "").split()
    if not builds:
        print("skipped: nothing to compare with. tests/run builds every preset and compares them; ctest on one preset does not")
        return SKIPPED
    root = os.path.dirname(os.environ["STOA_BUILD"])
    faults = 0
    for name in programs(os.environ["STOA_SOURCE"]):
        paths = {build: os.path.join(root, build, "tests", name) for build in builds}
        missing = [paths[build] for build in NEEDED if not os.path.exists(paths.get(build, "none"))]
        if missing:
            print(f"{name}: {missing[0]} is not built")
            faults += 1
            continue
        faults += compare(name, {build: path for build, path in paths.items() if os.path.exists(path)})
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
