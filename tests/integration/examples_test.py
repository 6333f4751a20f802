"""examples_test.py - goal: the examples that embed the runtime do what they say. Method: run them; hello_actor twice on the same
journal must count on. (The sdk_ examples run against a node in sdk_examples_test.py.)

SPDX-License-Identifier: Apache-2.0
"""
import os
import shutil
import subprocess
import sys
import tempfile

BIN = os.environ["STOA_BIN"]


def main():
    folder = tempfile.mkdtemp(prefix="stoa-examples-")
    try:
        for visitor in (1, 2, 3):
            done = subprocess.run([os.path.join(BIN, "example_hello_actor"), os.path.join(folder, "hello.db")],
                                  capture_output=True, text=True, timeout=60, check=False)
            assert done.returncode == 0 and done.stdout == f"Hello Ada, visitor {visitor}\n", done
        done = subprocess.run([os.path.join(BIN, "example_hello_actor"), "--help"], capture_output=True, text=True, timeout=60,
                              check=False, cwd=folder)
        assert done.returncode == 2 and "usage" in done.stderr and os.listdir(folder) == ["hello.db"], done
        print("hello_actor greeted three times and remembered")
        return 0
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
