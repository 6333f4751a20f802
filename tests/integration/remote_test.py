"""remote_test.py - goal: actors do not know where the other one lives. Method: the actors of examples/ping_pong.c, fan_in.c and
topics.c, unchanged, in two processes (tests/remote_node.c) over each kind of link; then one of the processes is killed and comes back.

SPDX-License-Identifier: Apache-2.0
"""
import os
import subprocess
import tempfile
import time

import zmq

NODE = os.path.join(os.environ["STOA_BUILD"], "tests", "remote_node")
ROUNDS, COUNT, READINGS = 300, 100, 50


class Node:
    def __init__(self, name, how, uri, keys, peer, peer_public):
        secret, public = keys or ("-", "-")
        self.process = subprocess.Popen([NODE, name, how, uri, secret, public, peer, peer_public if keys else "-"],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        first = self.process.stdout.readline().split()
        assert first and first[0] == "address", f"{name} {uri}: {first}"
        self.address, self.provider = first[1], " ".join(first[3:])

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().strip()
        assert answer.endswith(" OK"), f"{line}: {answer}"
        return answer

    def end(self):
        self.process.stdin.close()
        self.process.stdout.close()
        status = self.process.wait(timeout=60)
        assert status == 0, status

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


def field(answer, name):
    words = answer.split()
    return words[words.index(name) + 1]


def key_pair():
    public, secret = zmq.curve_keypair()
    return secret.decode(), public.decode()


def play(caller, server):
    assert field(caller.ask(f"ping {ROUNDS}"), "rounds") == str(ROUNDS)
    fan = caller.ask(f"fan {COUNT}")
    assert field(fan, "got") == str(8 * COUNT) and field(fan, "out_of_order") == "0", fan
    topic = caller.ask(f"topic {READINGS}")
    assert field(topic, "degrees") == str(READINGS) and field(topic, "topic") == "house.attic.temperature", topic
    assert field(topic, "heard") == "1", topic
    for node in (caller, server):
        peer = node.ask("peer")
        assert field(peer, "malformed") == "0" and field(peer, "lost") == "0", peer


def over(uri, keys, folder):
    mine, theirs = (key_pair(), key_pair()) if keys else (None, None)
    server = Node("left", "listen", uri.replace("FOLDER", folder), mine, "right", theirs[1] if keys else "-")
    caller = Node("right", "dial", server.address, theirs, "left", mine[1] if keys else "-")
    server.ask("serve")
    play(caller, server)
    # one restarts: the other one's stands end, and its names are found again
    server.kill()
    again = Node("left", "listen", server.address, mine, "right", theirs[1] if keys else "-")
    again.ask("serve")
    while field(caller.ask("peer"), "resets") == "0":
        time.sleep(0.05)
    assert field(caller.ask(f"ping {ROUNDS}"), "rounds") == str(ROUNDS)
    peer = caller.ask("peer")
    assert field(peer, "lost") == "1", peer
    provider = server.provider
    caller.end()
    again.end()
    return provider


def main():
    links = [("shm://FOLDER/remote.sock", False), ("zmq+ipc://FOLDER/remote.ipc", False), ("zmq+tcp://127.0.0.1:0", True),
             ("ucx+tcp://127.0.0.1:0", True), ("ofi+tcp://127.0.0.1:0", True)]
    for uri, keys in links:
        with tempfile.TemporaryDirectory(prefix="stoa-remote-") as folder:
            print(f"{uri.split(':')[0]}: {over(uri, keys, folder)}, as at home", flush=True)


main()
