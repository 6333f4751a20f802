"""guide_test.py - goal: docs/guide/actors.md shows what is. Method: every block of C in it stands, line by line, in a program under
examples/ (which examples_test.py runs); every name of the library that it mentions is declared in a header; every link leads
somewhere. (Its commands and its CMake project are what lib_install_test.py builds with.)

SPDX-License-Identifier: Apache-2.0
"""
import os
import re
import sys

SOURCE = os.environ["STOA_SOURCE"]
GUIDE = os.path.join(SOURCE, "docs", "guide", "actors.md")
TARGETS = {"stoa_shared", "stoa_static"}  # of CMake


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def sources(*folders):
    for folder in folders:
        for top, _, names in os.walk(os.path.join(SOURCE, folder)):
            for name in sorted(names):
                if name.endswith((".c", ".h")):
                    yield read(os.path.join(top, name))


def check_blocks(text):
    examples = list(sources("examples"))
    blocks = re.findall(r"^```c\n(.*?)^```$", text, re.M | re.S)
    assert len(blocks) >= 10, f"only {len(blocks)} blocks of C"
    for block in blocks:
        if not any("\n" + block in example for example in examples):
            yield f"no example has this block, line by line:\n{block}"


def check_names(text):
    headers = "\n".join(sources("base", "runtime", "storage", "cluster", "transport"))
    text = re.sub(r"\bstoa_text\d+|\bstoa_\w+_total\b", "", text)  # texts of any size are macros; figures are /metrics'
    names = set(re.findall(r"\b(?:stoa|STOA)_\w+", text))
    for name in sorted(names - TARGETS):
        if not re.search(rf"\b{name}\b", headers):
            yield f"{name} is declared in no header"


def anchors(text):
    titles = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def check_links(text):
    for link in re.findall(r"\]\(([^)]+)\)", text):
        path, _, anchor = link.partition("#")
        target = os.path.normpath(os.path.join(os.path.dirname(GUIDE), path)) if path else GUIDE
        if not os.path.exists(target):
            yield f"{link} leads nowhere"
        elif anchor and anchor not in anchors(read(target)):
            yield f"{link} leads to no heading"


def main():
    text = read(GUIDE)
    faults = [fault for check in (check_blocks, check_names, check_links) for fault in check(text)]
    print("\n".join(faults) or "the guide shows what is")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
