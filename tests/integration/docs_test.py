"""docs_test.py - goal: the reference pages say what the binary does. Method: each page of docs/reference that a table writes is
compared with what `stoad --dump-docs` prints; with STOA_UPDATE it is written instead. The messages are the binary's own.

SPDX-License-Identifier: Apache-2.0
"""
import os
import subprocess
import sys

SOURCE, BIN = os.environ["STOA_SOURCE"], os.environ["STOA_BIN"]
PAGES = ("config", "errors", "kinds", "protocol")


def main():
    stale = []
    for page in PAGES:
        path = os.path.join(SOURCE, "docs", "reference", page + ".md")
        text = subprocess.run([os.path.join(BIN, "stoad"), "--dump-docs", page], capture_output=True, text=True, check=True).stdout
        if os.environ.get("STOA_UPDATE"):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w") as out:
                out.write(text)
        elif not os.path.exists(path) or open(path).read() != text:
            stale.append(f"{path} differs: STOA_UPDATE=1, or build/dev/bin/stoad --dump-docs {page} > {path}")
    unknown = subprocess.run([os.path.join(BIN, "stoad"), "--dump-docs", "nonsense"], capture_output=True, text=True, check=False)
    if unknown.returncode != 2 or "protocol" not in unknown.stderr:
        stale.append("an unknown page must be refused with the list of pages")
    print("\n".join(stale) or f"{len(PAGES)} pages are as the binary prints them")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
