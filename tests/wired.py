"""wired.py - what the chaos tests of links stand on: a wire between two network namespaces (chaos_wire), processes that talk
over a link until they are killed (chaos_talker), and the check of what each has written down (chaos/ledger.h).

    wire = Wire(seed)                              raises Skipped where this machine does not permit it
    keys = Keys()
    a = Talker("listen", "zmq+tcp://10.88.0.1:7000", folder, name="a", peer="b", net=wire.net[0], **keys.of("a"))

SPDX-License-Identifier: Apache-2.0
"""
import mmap
import os
import selectors
import signal
import struct
import subprocess
import time

TESTS = os.path.join(os.environ["STOA_BUILD"], "tests")
LANES = 3
WAIT_MS = 60000
STEP_S = 0.02


class Skipped(Exception):
    """The machine does not permit what the test needs."""


class Wrong(Exception):
    """What was promised did not hold."""


def wait_until(what, holds, patience_ms=WAIT_MS):
    """Wait until holds() is true; its value. Time is counted in steps of our own, so that a pause of everything costs none."""
    for _ in range(int(patience_ms / 1000 / STEP_S)):
        value = holds()
        if value:
            return value
        time.sleep(STEP_S)
    raise Wrong(f"waited in vain until {what() if callable(what) else what}")


class Program:
    """A child whose lines are kept, and read without waiting; it dies with its input."""

    def __init__(self, name, *arguments, env=None):
        self.process = subprocess.Popen([os.path.join(TESTS, name), *map(str, arguments)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, **(env or {})})
        os.set_blocking(self.process.stdout.fileno(), False)
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.process.stdout, selectors.EVENT_READ)
        self.lines, self.rest = [], b""

    def order(self, text):
        self.process.stdin.write(text.encode() + b"\n")
        self.process.stdin.flush()

    def read(self):
        """Take in what it has said; all its lines so far, each as words."""
        while not self.process.stdout.closed:
            try:
                more = os.read(self.process.stdout.fileno(), 65536)
            except BlockingIOError:
                break
            if not more:
                break
            self.rest += more
        *whole, self.rest = self.rest.split(b"\n")
        self.lines += [line.decode().split() for line in whole]
        return self.lines

    def wait_line(self, word, start=0):
        """The first line that begins so, at or behind line number start."""
        def found():
            for line in self.read()[start:]:
                if line[0] == word:
                    return line
            code = self.process.poll()
            if code is not None:
                self.ended(code)
            self.selector.select(STEP_S)
            return None
        return wait_until(lambda: f"{self.process.args[:3]} says {word}", found)

    def ended(self, code):
        err = self.process.stderr.read().decode()
        if code == 77:
            raise Skipped(err.strip())
        raise Wrong(f"{' '.join(self.process.args[:3])} ended with {code}: {err.strip()} {self.read()[-3:]}")

    def end(self):
        """End it by a kill, if it has not ended."""
        if self.process.stdout.closed:
            return
        if self.process.returncode is None:
            self.process.kill()
            self.process.wait()
        self.read()
        self.selector.close()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            try:
                pipe.close()
            except BrokenPipeError:
                pass


class Wire(Program):
    """Two namespaces and what lies between them."""
    CLEAR = (0, 0, 0, 0, 0)

    def __init__(self, seed):
        super().__init__("chaos_wire", seed)
        try:
            _, pid, a, b = self.wait_line("ready")
        except Skipped:
            self.end()
            raise
        self.net = (f"/proc/{pid}/fd/{a}", f"/proc/{pid}/fd/{b}")

    def obey(self, text):
        """When it held, in ns of CLOCK_MONOTONIC."""
        start = len(self.read())
        self.order(text)
        return int(self.wait_line("ok", start)[1])

    def weather(self, delay_us, jitter_us, loss, dup, reorder):
        return self.obey(f"weather {delay_us} {jitter_us} {loss} {dup} {reorder}")

    def cut(self, a, b):
        return self.obey(f"cut {int(a)} {int(b)}")

    def counts(self):
        """Packets: passed, lost, cut off."""
        self.cut(0, 0)
        return list(map(int, self.lines[-1][2:]))


class Keys:
    """A pair for each side; options for a talker of either."""

    def __init__(self):
        pairs = [subprocess.run([os.path.join(TESTS, "chaos_talker"), "keys"], check=True, capture_output=True,
                                text=True).stdout.split() for _ in range(2)]
        self.pairs = dict(zip("ab", pairs))

    def of(self, side):
        public, secret = self.pairs[side]
        return {"public": public, "secret": secret, "theirs": self.pairs["b" if side == "a" else "a"][0]}


class Book:
    """One conversation of a ledger: with whom, and its lanes as (sending, sent, came, acked)."""

    def __init__(self, numbers):
        self.peer = numbers[0]
        self.lanes = [numbers[1 + 4 * i:5 + 4 * i] for i in range(LANES)]


class Talker(Program):
    """One life of a node: a process, its incarnation and its ledger."""
    BOOK = struct.Struct(f"<{1 + 4 * LANES}Q")
    HEAD = struct.Struct("<5Q")

    def __init__(self, side, address, folder, incarnation, **options):
        self.incarnation, self.side = incarnation, side
        path = os.path.join(folder, f"{options['name']}-{incarnation}")
        super().__init__("chaos_talker", side, address, f"incarnation={incarnation}", f"ledger={path}",
                         *(f"{key}={value}" for key, value in options.items()))
        self.address = self.wait_line("ready")[2]
        with open(path, "rb") as file:
            self.map = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)

    def books(self):
        count = self.HEAD.unpack_from(self.map, 0)[1]
        return [Book(self.BOOK.unpack_from(self.map, self.HEAD.size + i * self.BOOK.size)) for i in range(count)]

    def book_with(self, incarnation):
        """What it wrote down of its conversation with that one; None: they never met."""
        return next((book for book in self.books() if book.peer == incarnation), None)

    def came(self):
        return sum(lane[2] for book in self.books() for lane in book.lanes)

    def transfers(self):
        """So many went whole, so many came, and of these so many were resumed: some of it had been there before."""
        return self.HEAD.unpack_from(self.map, 0)[2:]

    def ask(self, order, word):
        start = len(self.read())
        self.order(order)
        return self.wait_line(word, start)

    def state(self):
        """(up, queued, refused, why)"""
        words = self.ask("state", "state")[2:]
        return words[0] == "1", int(words[1]), int(words[2]), words[3]

    def signal(self, number):
        os.kill(self.process.pid, number)

    def kill(self):
        self.signal(signal.SIGKILL)
        self.process.wait()
        self.check_alive_or_killed()
        super().end()

    def check_alive_or_killed(self):
        """It has not ended by itself, and found nothing wrong."""
        code = self.process.poll()
        if code not in (None, -signal.SIGKILL):
            self.ended(code)

    def resets(self):
        """(old, new, [(acked, lost, received) of each lane]) in the order they were told."""
        told = [list(map(int, line[2:])) for line in self.read() if line[0] == "reset"]
        return [(words[0], words[1], [words[2 + 3 * i:5 + 3 * i] for i in range(LANES)]) for words in told]


# --- what processes hold, and leave behind

QUIET = {"ASAN_OPTIONS": "quarantine_size_mb=1:detect_leaks=0"}   # freed memory is not what grows


def is_sanitized(process):
    """Whether a sanitizer's allocator gives it its memory: that keeps what it had, by sizes, and the shadow of all of it."""
    with open(f"/proc/{process.pid}/maps", encoding="utf-8") as file:
        maps = file.read()
    return "libasan." in maps or "libtsan." in maps


def held_by(process):
    """(KiB resident, descriptors, threads) of a process."""
    folder = f"/proc/{process.pid}"
    with open(f"{folder}/status", encoding="ascii") as file:
        status = dict(line.split(":", 1) for line in file)
    return int(status["VmRSS"].split()[0]), len(os.listdir(f"{folder}/fd")), int(status["Threads"])


def unowned(before):
    """Files in /dev/shm that were not there before, that no process has mapped or open, and that are not of tests beside this
    one: their servers' and their scratch folders."""
    names = {entry.name for entry in os.scandir("/dev/shm") if entry.name not in before and not entry.name.startswith("PostgreSQL.")
             and not (entry.name.startswith("stoa-") and entry.is_dir(follow_symlinks=False))}
    for pid in filter(str.isdigit, os.listdir("/proc")) if names else ():
        try:
            with open(f"/proc/{pid}/maps", encoding="utf-8", errors="replace") as file:
                text = file.read()
            text += " ".join(os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd"))
        except OSError:
            continue
        names = {name for name in names if f"/dev/shm/{name}" not in text}
    return names


# --- what must hold between the ledgers of all lives of both nodes

def demand(holds, text):
    if not holds:
        raise Wrong(text)


def check_reset(life, old, lanes, peer):
    """What a reset says was acknowledged, lost and received agrees with what both sides have written down."""
    book, theirs = life.book_with(old), peer.book_with(life.incarnation)
    for number, (acked, lost, received) in enumerate(lanes):
        _, sent, came, noted = book.lanes[number]
        at_peer = theirs.lanes[number] if theirs else (0, 0, 0, 0)
        where = f"{life.side} {life.incarnation}, reset of {old}, lane {number}: "
        demand(acked + lost == sent, f"{where}{acked} acknowledged and {lost} lost of {sent} sent")
        demand(received == came, f"{where}received {received}, but {came} came")
        demand(noted <= acked, f"{where}acknowledged {acked}, but {noted} were before")
        demand(acked <= at_peer[2] <= acked + lost, f"{where}{at_peer[2]} came there, {acked} acknowledged, {lost} lost")
        demand(came <= at_peer[0], f"{where}{came} came, {at_peer[0]} were sent")


def check_life(life, peers):
    """Each conversation of a life ended with a reset, or is its last; nothing came that the other had not sent, nothing was
    acknowledged that the other has not; and it knows of everyone who was up with it."""
    resets, books = life.resets(), life.books()
    demand(len(resets) >= len(books) - 1, f"{life.side} {life.incarnation}: a new conversation without a reset")
    for book in books:
        peer = peers.get(book.peer)
        demand(peer or not book.peer, f"{life.side} {life.incarnation} talked to nobody's incarnation {book.peer}")
        theirs = peer.book_with(life.incarnation) if peer else None
        for lane, (sending_here, _, came, acked) in enumerate(book.lanes):
            sending, _, at_peer, _ = theirs.lanes[lane] if theirs else (0, 0, 0, 0)
            demand(came <= sending and acked <= at_peer <= sending_here,
                   f"{life.side} {life.incarnation} with {book.peer}, lane {lane}: {came} of {sending} came, {acked} "
                   f"acknowledged, {at_peer} of {sending_here} arrived")
    for old, new, lanes in resets:
        demand(old < new, f"{life.side} {life.incarnation}: reset of {old} to {new}")
        check_reset(life, old, lanes, peers[old])
    known = {book.peer for book in books}
    for peer in peers.values():
        met = any(line[0] == "up" and int(line[2]) == life.incarnation for line in peer.read())
        demand(not met or peer.incarnation in known, f"{life.side} {life.incarnation} has not heard of {peer.incarnation}")


def check_all(lives):
    """lives: the talkers of both nodes, {"a": [...], "b": [...]}; how many resets there were."""
    for side, other in (("a", "b"), ("b", "a")):
        peers = {life.incarnation: life for life in lives[other]}
        for life in lives[side]:
            check_life(life, peers)
    return sum(len(life.resets()) for side in lives.values() for life in side)


def check_drained(a, b):
    """All that the two that live sent each other has come."""
    for one, other in ((a, b), (b, a)):
        book, theirs = one.book_with(other.incarnation), other.book_with(one.incarnation)
        for lane in range(LANES):
            demand(book.lanes[lane][1] == theirs.lanes[lane][2] == book.lanes[lane][3],
                   f"lane {lane} from {one.side}: sent {book.lanes[lane][1]}, came {theirs.lanes[lane][2]}, "
                   f"acknowledged {book.lanes[lane][3]}")
