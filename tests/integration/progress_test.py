"""progress_test.py - goal: while a command that takes long runs, a terminal shows in one line how far it is, Ctrl-C ends the waiting and
says what becomes of the work, and what is no terminal stays clean, waits as long, and is told the same when its time is over. Method: the REPL on a pty beside a node that verifies a backup of
which one segment is a pipe that nobody writes to: so the work lasts exactly until the test lets it go on.

SPDX-License-Identifier: Apache-2.0
"""
import glob
import json
import os
import re
import shutil
import subprocess
import sys
import time

from admin_test import Terminal
from running_node import BIN, Node
from stoa_client import Client

WAIT_S = 120
PROMPT = r"stoa \(write\)> "


def stoa(node, *words, time=("--timeout", "120000")):
    return subprocess.Popen([os.path.join(BIN, "stoa"), "--data", node.path("data"), *time, *words], stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ask(node, *words):
    done = stoa(node, "-o", "json", "--write", *words)
    out, err = done.communicate(timeout=WAIT_S)
    assert done.returncode == 0, (words, out, err, node.log())
    return json.loads(out)


def until(look):
    end = time.monotonic() + WAIT_S
    while not (found := look()):
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.05)
    return found


def let_go(pipe):
    """Who reads the pipe finds its end."""
    os.close(os.open(pipe, os.O_WRONLY))


def block(backup):
    """The second segment of trade becomes a pipe; returns how it is mended."""
    segment = sorted(glob.glob(os.path.join(backup, "trade", "*.seg")))[1]
    os.rename(segment, segment + ".kept")
    os.mkfifo(segment)
    return segment


def main():
    node, terminal = Node(), None
    backup = node.path("backup")
    try:
        with open(node.path("stoa.yaml"), "a", encoding="utf-8") as file:
            file.write("archive: {interval: 24h, segment: 4KiB}\n")
        node.start()
        keys = os.path.join(node.path("data"), "keys")
        client = Client(node.endpoint, os.path.join(keys, "server.pub"), os.path.join(keys, "alice"))
        client.wait_ready(60)
        for number in range(1, 100):
            client.place("alice", number, "BTCUSDT", "buy", "60000", "0.001", deadline=60)
        client.close()
        assert ask(node, "progress")["work"] == []
        ask(node, "backup", backup)
        pipe = block(backup)

        # a terminal: one line, drawn in place; Ctrl-C says that it goes on; it does
        terminal = Terminal("--data", node.path("data"), "--write", columns=120)
        terminal.expect(PROMPT)
        terminal.type(f"backup verify {backup}\n")
        seen = terminal.expect(r"\r\x1b\[Kbackup verify trade  verify  ([\d,]+) of ([\d,]+) events  ([\d.]+) %  [\d,]+/s  [^\r]*left")
        assert 0 < int(seen.group(1).replace(",", "")) < int(seen.group(2).replace(",", "")), seen.group(0)
        terminal.expect(r"\r\x1b\[Kbackup verify trade")  # and again
        assert "\n" not in terminal.seen[terminal.at - 40:terminal.at].split("\x1b[K")[-1]
        terminal.type("\x03")
        terminal.expect(r"\r\x1b\[K")
        terminal.expect("interrupted; the verification goes on: backup status shows how far it is")
        terminal.expect(r"> ")
        work = ask(node, "progress")["work"]
        assert [w["command"] for w in work] == ["backup verify"] and 0 < work[0]["permille"] < 1000 and work[0]["shard"] == "trade", work
        assert ask(node, "backup", "status")["job"]["state"] == "under way"

        # what is no terminal is told nothing but the answer
        let_go(pipe)
        until(lambda: ask(node, "progress")["work"] == [])
        os.remove(pipe)
        os.rename(pipe + ".kept", pipe)
        pipe = block(backup)
        short = stoa(node, "backup", "verify", backup, time=("--timeout", "300"))
        out, err = short.communicate(timeout=WAIT_S)
        assert short.returncode == 6 and "the verification goes on: backup status shows how far it is" in err, (short.returncode, out, err)
        until(lambda: [w["command"] for w in ask(node, "progress")["work"]] == ["backup verify"])
        let_go(pipe)
        until(lambda: ask(node, "progress")["work"] == [])
        quiet = stoa(node, "backup", "verify", backup, time=())
        until(lambda: ask(node, "progress")["work"])
        time.sleep(8)  # longer than other commands are waited for
        assert quiet.poll() is None, quiet.communicate()
        let_go(pipe)
        out, err = quiet.communicate(timeout=WAIT_S)
        assert quiet.returncode != 0 and "\r" not in out + err and "\x1b" not in out + err, (out, err)
        assert not re.search(r"%|left$", err), err
        os.remove(pipe)
        os.rename(pipe + ".kept", pipe)

        # each of them runs on a terminal to its end, and leaves no line behind
        for line, then in ((f"backup verify {backup}", r"state +done"), ("journal verify trade", "sound up to"),
                           ("journal reindex trade", r"equal +yes"), ("snapshot trade", r"trade +\w+"), (f"backup {backup}", r"state +done"),
                           (f"restore {backup} {node.path('into')}", r"state +done"), ("archive run", r"trade +orders")):
            terminal.type(line + "\n")
            terminal.expect(then)
            terminal.expect(PROMPT)
        terminal.type("quit\n")
        terminal.end()
        terminal = None
        assert node.stop() == 0
        print("progress was shown on a terminal, and nowhere else")
        return 0
    finally:
        node.close()
        if terminal:
            os.close(terminal.fd)
        shutil.rmtree(node.folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
