"""soak.py - lines that are soaked beside each other, for the chaos tests that look for growth.

SPDX-License-Identifier: Apache-2.0
"""
import os
import threading

import wired


def soak(kind, lines):
    """The exit code of a test: 0 where each kind(*line) did what its run() demands, and none left anything in /dev/shm.

    run() returns what is to be said of the line, or raises; close() is called after it, whatever happened."""
    before, results = set(os.listdir("/dev/shm")), []

    def attempt(*line):
        made = None
        try:
            made = kind(*line)
            print(made.run(), flush=True)
            results.append(True)
        except Exception as why:  # pylint: disable=broad-except
            results.append(False)
            print(f"WRONG: {line[0]}, where {line[1]} stays: {type(why).__name__}: {why}", flush=True)
        if made:
            made.close()

    threads = [threading.Thread(target=attempt, args=line) for line in lines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    try:
        wired.wait_until(lambda: f"nothing is left in /dev/shm: {wired.unowned(before)}", lambda: not wired.unowned(before))
    except wired.Wrong as why:
        print(f"WRONG: {why}", flush=True)
        results.append(False)
    return 0 if all(results) and len(results) == len(lines) else 1
