"""examples_test.py - goal: the examples that embed the runtime do what they say, on one screen. Method: run them and compare what
they print; hello_actor twice on the same journal must count on; two_nodes as two processes, over each kind of link. Count the lines, and look for casts where there is to be none.
(The sdk_ examples run against a node in sdk_examples_test.py.)

SPDX-License-Identifier: Apache-2.0
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

import two_nodes

BIN, SOURCE, BUILD = os.environ["STOA_BIN"], os.environ["STOA_SOURCE"], os.environ["STOA_BUILD"]
SCREEN_LINES = 108
HELLO_LINES = 50
# What each prints, by its first run in an empty folder and by its second there.
PRINTS = {
    "hello_actor": ["Hello Ada, visitor 1\n", "Hello Ada, visitor 2\n"],
    "ask": ["stall/baker: 250 cents\nstall/sold_out: 0 NOT_FOUND\nstall/asleep: 0 TIMEOUT\n"],
    "supervision": ["left 2, right 1\nFAILED\nleft 1, right 1; 2 ended, because of a cramp\n"],
    "topics": ["listener/house.*.temperature: 2, the last 22 house.kitchen.temperature\n"
               "listener/house.attic.>: 1, the last 31 house.attic.temperature\n"
               "listener/garden.>: 0, the last 0 \n"],
    "ping_pong": ["1000 rounds\n"],
    "fan_in": ["8000 came, 0 out of order\n"],
    "groups": ["cook/ada, one of 3: 9 dishes, closed\ncook/bob, one of 3: 7 dishes, closed\n"
               "cook/eve, one of 3: 8 dishes, closed\n"],
    "timers": ["2 to go\n1 to go\n0 to go\nready\n"],
    "large_state": ["day 30: Tea with Ada was put off.\n", "day 30: Tea with Ada was put off.\n"],
    "plugin": ["total 1\ntotal 3\ntotal 6\nFAILED\nisolate: crashed\ntotal 5\n"],
    "simulate": ["after 52 weeks: 52000 cents\nthe same seed decides the same: yes\n"],
}
# What each is called with.
ARGUMENTS = {"plugin": [os.path.join(BUILD, "plugins", "tally.so")]}
CAST = re.compile(r"(?<![\w)])\s*\(\s*(?:const\s+)?[A-Za-z_][\w\s]*\**\s*\)\s*[\w(&*!~\"'-]")
UNUSED = re.compile(r"\(void\)[a-z]")
NO_CAST = re.compile(r"\b(?:if|while|for|switch|sizeof|return)\s*\($")


def code_of(path):
    """The source without comments, strings and preprocessor lines."""
    with open(path, encoding="utf-8") as source:
        text = re.sub(r"/\*.*?\*/", " ", source.read(), flags=re.S)
    text = re.sub(r"\\\n", " ", text)
    text = re.sub(r"^\s*#.*$", "", text, flags=re.M)
    return re.sub(r'"(?:[^"\\]|\\.)*"', '""', text)


def casts(code):
    found = [match for match in CAST.finditer(code)
             if not NO_CAST.search(code[:code.index("(", match.start()) + 1])]
    return [match.group(0).strip() for match in found]


def check_form(name, lines_max):
    path = os.path.join(SOURCE, "examples", name + ".c")
    with open(path, encoding="utf-8") as source:
        lines = source.read().split("\n")[:-1]
    assert len(lines) <= lines_max, f"{name}.c has {len(lines)} lines; at most {lines_max}"
    assert all(len(line) <= 120 for line in lines), f"{name}.c has a line of more than 120 columns"
    found = [cast for cast in casts(code_of(path)) if name == "hello_actor" or not UNUSED.match(cast)]
    assert not found, f"{name}.c casts: {found}"


def run(name, folder):
    done = subprocess.run([os.path.join(BIN, "example_" + name), *ARGUMENTS.get(name, [])], capture_output=True, text=True,
                          timeout=60, check=False, cwd=folder)
    assert done.returncode == 0, f"{name}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def main():
    assert casts("x = (int)y; f(void); g(a) (b);") == ["(int)y"] and casts("(void)f(1);"), "the search for casts finds none"
    sources = {name[:-2] for name in os.listdir(os.path.join(SOURCE, "examples"))
               if name.endswith(".c") and not name.startswith(("sdk_", "test_"))}
    assert sources == set(PRINTS) | {"two_nodes"}, f"examples without expected output, or the other way: {sources ^ set(PRINTS)}"
    check_form("two_nodes", SCREEN_LINES)
    two_nodes.refused(os.path.join(BIN, "example_two_nodes"))
    for uri, keys in two_nodes.LINKS:
        two_nodes.play(os.path.join(BIN, "example_two_nodes"), uri, keys)
    for name, prints in PRINTS.items():
        check_form(name, HELLO_LINES if name == "hello_actor" else SCREEN_LINES)
        folder = tempfile.mkdtemp(prefix="stoa-examples-")
        try:
            for expected in prints:
                told = run(name, folder)
                assert told == expected, f"{name} printed\n{told}instead of\n{expected}"
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    print(f"{len(sources)} examples did what they say")
    return 0


if __name__ == "__main__":
    sys.exit(main())
