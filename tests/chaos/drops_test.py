"""drops_test.py - goal: a path that flaps ends nobody's process and costs nobody a message. Method: over each kind of link two real nodes, each
with a client that posts in a room of the other, each post once. Both are told to drop the connection, again as soon as they have answered,
until there were so many connections: they end when they have served, and when they have just been made. Then both are the same life still,
no session was reset or lost, every post was answered, none was done twice, and neither holds more descriptors than it did.

300 connections, some 15 s; with STOA_DEEP 12,000.

SPDX-License-Identifier: Apache-2.0
"""
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time

import wired
from linked_nodes import WAIT_S, Node, Talk, both_up, keys_exchange, until
from running_node import BIN, free_port

CONNECTIONS = 12000 if os.environ.get("STOA_DEEP") else 300
WARM = 20
STALLS_S = 60
MORE = {"ofi+tcp": 16}  # an endpoint that is worn, on both sides, beside the one that takes its place
LINKS = {"shm": "shm://{}/link", "zmq+tcp": "zmq+tcp://127.0.0.1:{}", "ucx+tcp": "ucx+tcp://127.0.0.1:{}", "ofi+tcp": "ofi+tcp://127.0.0.1:{}",
         "ucx+tcp trusted": "ucx+tcp://127.0.0.1:{}"}


class Dropping(threading.Thread):
    """Has a node drop its connection, again as soon as it has answered, until it is over."""

    def __init__(self, node, other):
        super().__init__()
        self.over, self.answers, self.line = threading.Event(), 0, f"link {other} drop\n"
        self.steering = subprocess.Popen([os.path.join(BIN, "stoa"), "-o", "json", "--write", "--data", node.data], stdin=subprocess.PIPE,
                                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)  # pylint: disable=consider-using-with

    def run(self):
        while not self.over.is_set():
            try:
                self.steering.stdin.write(self.line)
                self.steering.stdin.flush()
            except BrokenPipeError:
                return
            if not self.steering.stdout.readline():
                return
            self.answers += 1

    def stop(self):
        self.over.set()
        self.join()
        self.steering.stdin.close()
        self.steering.stdout.close()
        self.steering.wait(WAIT_S)


class Line:
    def __init__(self, link):
        self.link = link
        self.folder = tempfile.mkdtemp(prefix="stoa-drops-")
        uri = LINKS[link].format(self.folder if link == "shm" else free_port())
        more = ", trusted: true" if link.endswith("trusted") else ""
        self.a = Node(self.folder, "a", "b", uri, "listen: true" + more, "in", hasty=False)
        self.b = Node(self.folder, "b", "a", uri, "listen: false" + more, "to-a", hasty=False)
        self.sides = ((self.a, self.b), (self.b, self.a))
        self.talks, self.droppings = [], []
        for node, _ in self.sides:  # may be down for long: a session has hardly begun when it is dropped again
            path = os.path.join(node.folder, "stoa.yaml")
            with open(path, encoding="utf-8") as file:
                text = file.read()
            with open(path, "w", encoding="utf-8") as file:
                file.write(text.replace("node: {", "node: {lost: 10m, "))
        if link != "shm":
            keys_exchange(self.a, self.b)

    def connections(self):
        for node, _ in self.sides:
            wired.demand(node.process.poll() is None, f"{self.link}: {node.name} ended with {node.process.returncode}\n" + node.log()[-3000:])
        return self.a.ask("link b")["link"]["connections"]

    def drop(self, count):
        """Until there were so many more connections."""
        self.droppings = [Dropping(node, other.name) for node, other in self.sides]
        for dropping in self.droppings:
            dropping.start()
        begun = now = self.connections()
        moved = time.monotonic()
        while now < begun + count:
            time.sleep(0.2)
            before, now = now, self.connections()
            moved = time.monotonic() if now > before else moved
            wired.demand(time.monotonic() < moved + STALLS_S, f"{self.link}: no connection any more\n" + self.b.log()[-3000:])
        answers = sum(dropping.answers for dropping in self.droppings)
        self.over()
        both_up(self.a, self.b)
        for talk in self.talks:
            talk.some_more()
        return now - begun, answers

    def over(self):
        for dropping in self.droppings:
            dropping.stop()
        self.droppings = []

    def descriptors(self):
        """Of both, without the database's."""
        return sum(self.held(node) for node, _ in self.sides)

    def held(self, node):
        folder, count = f"/proc/{node.process.pid}/fd", 0
        for name in os.listdir(folder):
            try:
                count += not os.readlink(f"{folder}/{name}").startswith(node.data + "/")
            except FileNotFoundError:
                pass  # closed meanwhile
        return count

    def run(self):
        self.a.start()
        self.b.start()
        both_up(self.a, self.b)
        self.talks = [Talk(node, "room-" + other.name) for node, other in self.sides]
        for talk in self.talks:
            talk.daemon = True
            talk.start()
        self.drop(WARM)
        most = self.descriptors() + MORE.get(self.link, 0)
        connections, answers = self.drop(CONNECTIONS)
        until(lambda: self.descriptors() <= most, f"{self.link}: {most} descriptors", self.descriptors)
        for talk in self.talks:
            talk.stop()
            wired.demand(not talk.failed, f"{self.link}: posts failed: {talk.failed[:3]}")
            wired.demand(len(set(talk.seqs)) == len(talk.seqs), f"{self.link}: a post was done twice")
        for node, other in self.sides:
            faults = node.ask("link " + other.name)["faults"]
            wired.demand((faults["resets"], faults["lost"]) == (0, 0), f"{self.link}: {faults}\n" + node.log()[-3000:])
        posts, (self.talks, talks) = sum(len(talk.seqs) for talk in self.talks), ([], self.talks)
        codes = (self.a.stop(), self.b.stop())
        wired.demand(codes == (0, 0), f"{self.link}: the nodes ended with {codes}")
        return f"{self.link}: {answers} drops, {connections} connections, {posts} posts of {len(talks)} clients answered, {most} descriptors"

    def close(self):
        self.over()
        for node, _ in self.sides:
            node.close()
        for talk in self.talks:
            talk.over.set()
        shutil.rmtree(self.folder, ignore_errors=True)


def try_line(link, results):
    line = None
    try:
        line = Line(link)
        text = line.run()
        results.append(True)
    except Exception as why:  # pylint: disable=broad-except
        text = f"WRONG: {link}: {type(why).__name__}: {why}"
        results.append(False)
    if line:
        line.close()
    print(text, flush=True)


def main():
    results, links = [], sys.argv[1:] or list(LINKS)
    threads = [threading.Thread(target=try_line, args=(link, results)) for link in links]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return 0 if len(results) == len(links) and all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
