"""quickstart_test.py - goal: the story that a newcomer sees is true and ends well. Method: run what deploy/quickstart --demo runs
after building; its last line must be JSON with every figure counted and no error; twice at the same time, for two users.

SPDX-License-Identifier: Apache-2.0
"""
import json
import os
import subprocess
import sys

SOURCE, BIN = os.environ["STOA_SOURCE"], os.environ["STOA_BIN"]
FIGURES = ("market_events", "orders", "fills", "ack_p50_us", "ack_p99_us", "journal_events")


def check_refusals():
    """What is no number of seconds is named before anything is installed or built."""
    for args, named in ((["--demo", "-3"], "'-3'"), (["--demo", "5x5"], "'5x5'"), (["--demo", "0"], "'0'"), (["--demo"], "''"),
                        (["--nonsense"], "'--nonsense'")):
        done = subprocess.run([os.path.join(SOURCE, "deploy", "quickstart"), *args], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 2 and named in done.stderr and "==" not in done.stderr, (args, done)


def main():
    check_refusals()
    runs = [subprocess.Popen([sys.executable, os.path.join(SOURCE, "deploy", "demo.py"), BIN, "4"], stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in range(2)]
    failed = 0
    for run in runs:
        text, _ = run.communicate(timeout=240)
        try:
            figures = json.loads(text.splitlines()[-1])
            assert run.returncode == 0 and figures["errors"] == 0 and figures["lost"] == 0 and figures["hash_equal"] is True
            assert all(figures[name] > 0 for name in FIGURES)
            assert "-9" in text and "explain order" in text and "lobby" in text
            print(json.dumps(figures))
        except (AssertionError, ValueError, KeyError, IndexError):
            failed += 1
            print(f"exit {run.returncode}\n{text}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
