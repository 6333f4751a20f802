"""nats_test.py - goal: topics and patterns mean what subjects mean to NATS. Method: the same random patterns and names, from a
printed seed, to a real nats-server (over its text protocol) and to our tables (tests/unit/runtime/topic_driver.c): both must refuse the
same ones, and for each name the same subscribers must hear it. Names of ours end at 63 bytes and have no white space, which
the protocol cannot carry; both are asked of ours alone.

The seed can be given as an argument.

SPDX-License-Identifier: Apache-2.0
"""
import os
import random
import shutil
import socket
import subprocess
import sys
import time

BUILD = os.environ["STOA_BUILD"]
NAME_MAX = 63
ROUNDS = 60 if os.environ.get("STOA_DEEP") else 12
PATTERNS, NAMES, LEAVERS = 400, 400, 100

# What a segment may be. The empty one is wrong anywhere; '*' and '>' beside other characters are characters.
SEGMENTS = ["a", "b", "c", "A", "ab", "a*", "*a", "a>", ">a", "**", ">>", "*>", ">*", "$", "-", "_", "0", "é", "\\", "'", '"',
            "/", "a,b", "#", "+", "x" * 30]
HANDMADE = ["a", "*", ">", "a.*", "a.>", "*.b", "a.*.>", "*.*.*", "*.>", ".", "..", ".a", "a.", "a..b", "a.>.b", ">.a", "*.", ".*",
            ".>", ">.", "a*.b", "a.*b", "a.>b", "a>.b", "A.b", "a.B", "a.b.c.d.e.f.g.h", ".".join(["a"] * 32),
            ".".join(["*"] * 32), ".".join(["*"] * 31 + [">"]), "y" * 63, "y" * 61 + ".z", "y" * 61 + ".*", "y" * 61 + ".>"]


def can_be_asked(text):
    """A text both sides can be asked about: nats-server keeps '$SYS' and the like to itself."""
    return 0 < len(text.encode()) <= NAME_MAX and not text.startswith(("$SYS", "$JS", "_INBOX"))


def random_text(chance, wild):
    """A pattern (wild) or a name; sometimes with what is wrong in it."""
    while True:
        segments = [chance.choice(SEGMENTS[: chance.choice([3, 5, len(SEGMENTS)])]) for _ in range(chance.randint(1, 6))]
        for i in range(len(segments)):
            dice = chance.random()
            if dice < (0.25 if wild else 0.02):
                segments[i] = "*"
            elif dice < (0.28 if wild else 0.03):
                segments[i] = ">"
            elif dice < (0.30 if wild else 0.05):
                segments[i] = ""
        if wild and chance.random() < 0.25:
            segments[-1] = ">"
        text = ".".join(segments)
        if can_be_asked(text):
            return text


class Nats:
    """A connection to a nats-server of its own. Verbose: it answers each line; pedantic: it checks names, too."""

    def __init__(self):
        self.process, self.port = self.start()
        self.socket = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        self.file = self.socket.makefile("rb")
        assert self.file.readline().startswith(b"INFO "), "no greeting"
        self.say(b'CONNECT {"verbose":true,"pedantic":true}')
        assert self.file.readline() == b"+OK\r\n"

    @staticmethod
    def start():
        """The server on a port that was free a moment ago; another one when somebody was faster."""
        program = shutil.which("nats-server") or shutil.which("nats-server", path="/usr/sbin:/usr/local/sbin")
        assert program, "nats-server is missing: run deploy/setup"
        for _ in range(10):
            with socket.create_server(("127.0.0.1", 0)) as free:
                port = free.getsockname()[1]
            process = subprocess.Popen([program, "-a", "127.0.0.1", "-p", str(port)], stdout=subprocess.DEVNULL,
                                       stderr=subprocess.DEVNULL)
            until = time.monotonic() + 20
            while process.poll() is None and time.monotonic() < until:
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    return process, port
                except OSError:
                    time.sleep(0.05)
            process.kill()
            process.wait()
        raise AssertionError("nats-server did not start")

    def close(self):
        self.socket.close()
        self.process.terminate()
        self.process.wait()

    def say(self, line):
        self.socket.sendall(line + b"\r\n")

    def ask(self, line, heard):
        """One line, and everything up to the answer to the PING behind it: whether it was taken. Adds (payload, sid) to heard."""
        self.socket.sendall(line + b"\r\nPING\r\n")
        taken = True
        while True:
            got = self.file.readline()
            if got == b"PONG\r\n":
                return taken
            if got.startswith(b"MSG "):
                words = got.split()
                payload = self.file.read(int(words[-1]) + 2)[:-2]
                heard.append((payload, int(words[2])))
            elif got == b"PING\r\n":
                self.say(b"PONG")
            elif got.startswith(b"-ERR"):
                assert b"Invalid" in got and b"Subject" in got, got
                taken = False
            else:
                assert got == b"+OK\r\n", f"{got} to {line}"

    def subscribe(self, pattern, sid):
        return self.ask(b"SUB %s %d" % (pattern.encode(), sid), [])

    def unsubscribe(self, sid):
        self.ask(b"UNSUB %d" % sid, [])

    def publish(self, name, sent=[0]):
        """The set of sids that hear it; None: no name."""
        heard = []
        sent[0] += 1
        tag = b"%d" % sent[0]
        taken = self.ask(b"PUB %s %d\r\n%s" % (name.encode(), len(tag), tag), heard)
        assert all(payload == tag for payload, _ in heard), heard
        assert len(set(heard)) == len(heard), f"heard twice: {heard}"
        return {sid for _, sid in heard} if taken else None


class Ours:
    def __init__(self):
        self.process = subprocess.Popen([os.path.join(BUILD, "tests", "topic_driver")], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE)

    def close(self):
        self.process.stdin.close()
        assert self.process.wait() == 0, "topic_driver failed"

    def ask(self, verb, text):
        self.process.stdin.write(f"{verb} {text}\n".encode())
        self.process.stdin.flush()
        line = self.process.stdout.readline().decode()
        assert line.endswith("\n"), "topic_driver died"
        return line[:-1]

    def subscribe(self, pattern):
        return self.ask("s", pattern) == "ok"

    def publish(self, name):
        answer = self.ask("p", name)
        if answer == "invalid":
            return None
        assert "differs" not in answer, f"{name}: {answer}"
        numbers = [int(word) for word in answer.split()[1:]]
        assert len(set(numbers)) == len(numbers), f"{name}: heard twice: {answer}"
        return set(numbers)


def compare(nats, ours, subscribed, names, base, tally):
    for name in names:
        theirs, mine = nats.publish(name), ours.publish(name)
        if theirs is not None:
            theirs = {sid - base for sid in theirs}
        if theirs != mine:
            odd = sorted((theirs or set()) ^ (mine or set()))
            raise AssertionError(f"'{name}': NATS {theirs}, ours {mine}; they differ about {[subscribed[i] for i in odd]}")
        tally["refused names" if mine is None else "names"] += 1
        tally["heard"] += len(mine or ())


def one_round(chance, nats, ours, base, tally):
    """Half of the names are there before the patterns; some of those who subscribed leave in between."""
    assert ours.ask("n", "") == "ok"
    patterns = HANDMADE + [random_text(chance, True) for _ in range(PATTERNS)]
    names = HANDMADE + [random_text(chance, False) for _ in range(NAMES)]
    chance.shuffle(patterns)
    chance.shuffle(names)
    for name in names[::2]:
        ours.ask("t", name)
    for i, pattern in enumerate(patterns):
        theirs, mine = nats.subscribe(pattern, base + i), ours.subscribe(pattern)
        assert theirs == mine, f"pattern '{pattern}': NATS {'takes' if theirs else 'refuses'} it, ours does not agree"
        tally["patterns" if mine else "refused patterns"] += 1
    compare(nats, ours, patterns, names, base, tally)
    for i in chance.sample(range(len(patterns)), LEAVERS):
        nats.unsubscribe(base + i)
        ours.ask("u", i)
    compare(nats, ours, patterns, names[: len(names) // 4], base, tally)
    for i in range(len(patterns)):
        nats.unsubscribe(base + i)


def main():
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else random.SystemRandom().getrandbits(32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    tally = dict.fromkeys(["patterns", "refused patterns", "names", "refused names", "heard"], 0)
    nats, ours = Nats(), Ours()
    try:
        for number in range(ROUNDS):
            one_round(chance, nats, ours, 1 + number * 100000, tally)
    finally:
        nats.close()
    for text in ["a b", "a.\tb", "a\r", "\fa", "a" * (NAME_MAX + 1), ".".join(["a"] * 33), ""]:
        assert not ours.subscribe(text), f"'{text}' taken as a pattern"
        assert ours.publish(text) is None, f"'{text}' taken as a name"
    ours.close()
    assert all(tally.values()), f"the random texts leave something out: {tally}"
    print("ok topics_match_as_nats_subjects: " + ", ".join(f"{count} {what}" for what, count in tally.items()))


if __name__ == "__main__":
    main()
