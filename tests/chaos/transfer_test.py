"""transfer_test.py - goal: what is too large for a message (transport/keep.h) goes on where it was, whoever was killed and whatever was cut
meanwhile, and arrives whole; what was spoilt on disk meanwhile is not gone on from. Method: two processes over each kind of link; who
receives stops itself in the middle of a large thing. Then it is killed; or who sends is; or a piece that it has kept is
spoilt, too; or cut short; or nothing passes until both have noticed. What the next life says is there must be what was there, to the
piece: not less, and nothing at or behind what was spoilt. The receiver compares all bytes of what comes with what they must be.

Over zmq+tcp, ucx+tcp and ofi+tcp between network namespaces with keys, where these are permitted, and over shm. The seed is printed;
STOA_SEED repeats it.

SPDX-License-Identifier: Apache-2.0
"""
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time

import wired

SEED = int(os.environ.get("STOA_SEED", time.time_ns() & 0xFFFFFFFF))
ROUNDS = 10 if os.environ.get("STOA_DEEP") else 1
ON_WIRE = ("zmq", "ucx", "ofi")
MOST = 8 << 20            # bytes of the largest; the smallest has half of it
PIECE = 64 << 10
HALTS = (2 * PIECE, 2 << 20)  # and what is under way, 1 MiB, is less than what is left
RECORD = 32 + PIECE       # a hash and a piece, as transport/keep.h


class Pair:
    """One that sends large things, one after the other, and one that receives them; either may be replaced."""

    def __init__(self, link, receiver):
        self.link, self.receiver, self.sender = link, receiver, "b" if receiver == "a" else "a"
        self.chance = random.Random(f"{SEED} {link} {receiver}")
        self.folder = tempfile.mkdtemp(prefix="stoa-transfer-")
        self.wire = wired.Wire(SEED) if link in ON_WIRE else None
        self.keys = wired.Keys() if self.wire else None
        self.now, self.clock, self.resumed = {}, 0, []

    def start(self, side, halts=0):
        self.clock += 1
        listens = side == "a"
        options = {"net": self.wire.net[0 if listens else 1], **self.keys.of(side)} if self.wire else {}
        address = f"{self.link}+tcp://10.88.0.1:7000" if self.wire else f"shm://{self.folder}/link"
        self.now[side] = wired.Talker("listen" if listens else "dial", address, self.folder, self.clock, name=side,
                                      peer="b" if listens else "a", seed=SEED + self.clock, pace_us=2000, trusts=int(self.link == "shm"),
                                      transfers=SEED + 1, keep=f"{self.folder}/keep-{side}", most=MOST, tells=1, halts=halts, **options)
        return self.now[side]

    def halted(self):
        """Both begin anew, and nothing is kept; (number of what came in part, bytes of it that are kept now)."""
        for side in list(self.now):
            self.now.pop(side).kill()
        for path in self.kept():
            os.remove(path)
        life = self.start(self.receiver, self.chance.randrange(*HALTS))
        self.start(self.sender).order("talk")
        _, _, number, have = life.wait_line("halted")
        self.wait_stopped(life)
        return number, int(have) // PIECE * PIECE

    def wait_stopped(self, life):
        def is_stopped():
            with open(f"/proc/{life.process.pid}/stat", encoding="ascii") as stat:
                return stat.read().rpartition(")")[2].split()[0] == "T"
        wired.wait_until(f"{life.side} of {self.link} has stopped", is_stopped)

    def kept(self):
        """Paths of the files of what has come in part."""
        folder = f"{self.folder}/keep-{self.receiver}"
        return [os.path.join(folder, name) for name in os.listdir(folder) if name.endswith(".part")] if os.path.exists(folder) else []

    def arrives(self, number, have, start=0):
        """It is offered again, have bytes are there, and it comes whole."""
        life = self.now[self.receiver]
        offered = life.wait_line("offered", start)
        wired.demand((offered[2], int(offered[4])) == (number, have),
                     f"{self.link}: number {number} with {have} kept bytes was offered again as {offered}")
        came = life.wait_line("came", life.lines.index(offered))
        wired.demand(came[2:] == [number, offered[3], "OK"], f"{self.link}: {offered}, but {came}")
        self.resumed.append(have)

    # --- what happens to them

    def receiver_killed(self):
        number, have = self.halted()
        self.now[self.receiver].kill()
        self.start(self.receiver)
        self.arrives(number, have)

    def sender_killed(self):
        """What was on its way, and read before the end of the connection was, may have come, too."""
        number, have = self.halted()
        life = self.now[self.receiver]
        self.now[self.sender].kill()
        start = len(life.read())
        life.signal(signal.SIGCONT)
        self.start(self.sender).order("talk")
        _, _, ended, all_have, why = life.wait_line("came", start)
        wired.demand((ended, why) == (number, "CLOSED") and int(all_have) >= have, f"{self.link}: {life.lines[start:]}")
        self.arrives(number, int(all_have) // PIECE * PIECE, start)

    def spoilt(self, spoil):
        number, have = self.halted()
        self.now[self.receiver].kill()
        paths, at = self.kept(), self.chance.randrange(1, have // PIECE)
        wired.demand(len(paths) == 1, f"{self.link}: one file is kept: {paths}")
        spoil(paths[0], at * RECORD + self.chance.randrange(RECORD))
        self.start(self.receiver)
        self.arrives(number, at * PIECE)

    def byte_spoilt(self):
        def spoil(path, at):
            with open(path, "r+b") as file:
                file.seek(at)
                was = file.read(1)[0]
                file.seek(at)
                file.write(bytes([was ^ 1 << self.chance.randrange(8)]))
        self.spoilt(spoil)

    def cut_short(self):
        self.spoilt(os.truncate)

    def wait_down(self, life):
        """Where it is down already, too."""
        def is_down():
            return [line[0] for line in life.read() if line[0] in ("up", "down")][-1] == "down"
        wired.wait_until(lambda: f"{life.side} of {self.link} is down: {life.lines[-3:]}", is_down)

    def cut_off(self):
        """Nobody has died: the same offer goes on, where it was, when something passes again."""
        number, _ = self.halted()
        sender, life = (self.now[side] for side in (self.sender, self.receiver))
        if self.wire:
            self.wire.cut(1, 1)
            life.signal(signal.SIGCONT)
            self.wait_down(life)
        self.wait_down(sender)
        if self.wire:
            self.wire.cut(0, 0)
        else:  # no wire to cut: it was deaf and mute for long enough
            life.signal(signal.SIGCONT)
        start = life.lines.index(life.wait_line("halted"))
        came = life.wait_line("came", start)
        again = [line for line in life.lines[start:life.lines.index(came)] if line[0] in ("offered", "reset")]
        up = [line for line in sender.read() if line[0] == "up"][-1]
        wired.demand((came[2], came[4], again, up[3]) == (number, "OK", [], "1"), f"{self.link}: after a cut {up} {again} {came}")

    def run(self):
        deeds = [self.receiver_killed, self.sender_killed, self.byte_spoilt, self.cut_short, self.cut_off] * ROUNDS
        self.chance.shuffle(deeds)
        for deed in deeds:
            deed()
        wired.demand(min(self.resumed) > 0, f"{self.link}: one was not resumed: {self.resumed}")
        return (f"{len(self.resumed)} of {len(deeds)} were offered again, with {min(self.resumed) >> 10} to {max(self.resumed) >> 10} KiB "
                f"kept; the others went on; all came whole")

    def close(self):
        for life in self.now.values():
            life.end()
        if self.wire:
            self.wire.end()
        shutil.rmtree(self.folder, ignore_errors=True)


def try_link(link, results):
    """Both ways, one after the other."""
    for receiver, what in (("a", "to who listens"), ("b", "to who dials")):
        pair = None
        try:
            pair = Pair(link, receiver)
            text = pair.run()
            results.append(0)
        except wired.Skipped as why:
            results.append(77)
            text = f"skipped: {why}"
        except Exception as why:  # pylint: disable=broad-except
            results.append(1)
            text = f"WRONG: {type(why).__name__}: {why}"
        if pair:
            pair.close()
        print(f"{link}, {what}: {text}", flush=True)


def main():
    print(f"STOA_SEED={SEED}", flush=True)
    results = []
    threads = [threading.Thread(target=try_link, args=(link, results)) for link in ("shm", *ON_WIRE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return max(results, key=lambda code: (code == 1, code))


if __name__ == "__main__":
    sys.exit(main())
