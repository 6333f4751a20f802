#!/usr/bin/env python3
"""venue_server.py - a venue for tests: a TLS server that speaks Binance's streams and snapshots, and misbehaves on
demand.

It keeps a made-up book. Diffs go out over WebSocket (GET /stream?streams=...), the book's snapshot is answered to
GET /api/v3/depth. Certificates are made at start by openssl: an authority of its own, and a server's for "localhost".

    venue_server.py FOLDER [SEED]     prints {"port": ..., "ca": ..., "other_ca": ...}, then reads commands:

    diffs N       make and send N diffs          drop         make a diff, do not send it
    double        send a diff twice              reorder      send two diffs the wrong way round
    fragment      send a diff in three pieces, with a ping between
    big           send a diff of 700 levels a side
    trade         send a trade                   text TEXT    send TEXT as it is
    close         end the connection in order    cut          drop it without a word
    deaf          answer nothing any more (the connection stays)
    hear          answer again
    refuse N      answer the next N snapshots with 503
    stale N       answer the next N snapshots with the book as it was 50 diffs ago
    state         print what is true: {"last_id", "bid", "ask", "connections", "snapshots", "refused", "pongs"}
    quit

Every command but quit prints one line of JSON when it is done.

SPDX-License-Identifier: Apache-2.0
"""

import base64
import hashlib
import json
import os
import random
import socket
import ssl
import subprocess
import sys
import threading
import time

MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
SYMBOL = "BTCUSDT"
TEXT, CLOSE, PING, PONG = 1, 8, 9, 10


def make_certificates(folder):
    """An authority, a certificate for localhost signed by it, and another authority that signed nothing."""

    def openssl(*args):
        subprocess.run(["openssl", *args], cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    for name in ("ca", "other_ca"):
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                "-subj", f"/CN=test authority {name}", "-keyout", f"{name}.key", "-out", f"{name}.pem")
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=localhost",
            "-keyout", "server.key", "-out", "server.csr")
    with open(os.path.join(folder, "server.ext"), "w", encoding="ascii") as out:
        out.write("subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n")
    openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
            "-extfile", "server.ext", "-out", "server.pem")


class Book:
    """The truth: prices in cents, quantities in units of 10^-8, update ids."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.last_id = 1000
        self.sides = {"b": {}, "a": {}}
        self.old = []  # the book of the past, oldest first, to be written out when it is asked for
        for cents in range(1, 400):
            self.sides["b"][6000000 - cents] = 100000000
            self.sides["a"][6000000 + cents] = 100000000

    def diff(self, levels=8):
        first = self.last_id + 1
        self.last_id += self.random.randint(1, 20)
        changed = {}
        for side, sign in (("b", -1), ("a", 1)):
            changed[side] = {}
            for _ in range(levels):
                price = 6000000 + sign * self.random.randint(1, max(60, levels * 2))
                qty = self.random.choice((0, self.random.randint(1, 10**10)))
                changed[side][price] = qty
                if qty:
                    self.sides[side][price] = qty
                else:
                    self.sides[side].pop(price, None)
        self.old = (self.old + [(self.last_id, dict(self.sides["b"]), dict(self.sides["a"]))])[-50:]
        data = {"e": "depthUpdate", "E": int(time.time() * 1000), "s": SYMBOL, "U": first, "u": self.last_id,
                "b": self.levels(changed["b"]), "a": self.levels(changed["a"])}
        return json.dumps({"stream": f"{SYMBOL.lower()}@depth@100ms", "data": data}, separators=(",", ":"))

    @staticmethod
    def levels(side):
        return [[f"{cents // 100}.{cents % 100:02d}000000", f"{qty // 10**8}.{qty % 10**8:08d}"]
                for cents, qty in side.items()]

    def snapshot(self, old=False):
        last_id, bids, asks = self.old[0] if old else (self.last_id, self.sides["b"], self.sides["a"])
        return json.dumps({"lastUpdateId": last_id, "bids": self.levels(bids), "asks": self.levels(asks)}, separators=(",", ":"))

    def best(self):
        bid, ask = max(self.sides["b"]), min(self.sides["a"])
        return f"{bid // 100}.{bid % 100:02d}", f"{ask // 100}.{ask % 100:02d}"


class Venue:
    def __init__(self, folder, seed):
        self.book = Book(seed)
        self.lock = threading.RLock()
        self.streams = []
        self.deaf = False
        self.refuse = self.stale = 0
        self.counts = {"connections": 0, "snapshots": 0, "refused": 0, "pongs": 0, "paths": []}
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(os.path.join(folder, "server.pem"), os.path.join(folder, "server.key"))
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    # --- connections

    def accept(self):
        while True:
            plain, _ = self.listener.accept()
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.serve, args=(plain,), daemon=True).start()

    def serve(self, plain):
        try:
            with self.tls.wrap_socket(plain, server_side=True) as conn:
                self.answer(conn)
        except (OSError, ValueError):
            pass  # the client went away, or trusts somebody else

    def answer(self, conn):
        head = b""
        while b"\r\n\r\n" not in head:
            piece = conn.recv(4096)
            if not piece:
                return
            head += piece
        lines = head.decode("latin-1").split("\r\n")
        path = lines[0].split(" ")[1]
        headers = {line.split(":", 1)[0].lower(): line.split(":", 1)[1].strip() for line in lines[1:] if ":" in line}
        with self.lock:
            self.counts["paths"].append(path)
        if headers.get("upgrade", "").lower() == "websocket":
            self.stream(conn, headers)
        elif path.startswith("/api/v3/depth"):
            self.depth(conn)
        else:
            conn.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    def depth(self, conn):
        with self.lock:
            status, body = "200 OK", self.book.snapshot()
            if self.refuse:
                self.refuse -= 1
                self.counts["refused"] += 1
                status, body = "503 Service Unavailable", "{}"
            elif self.stale and self.book.old:
                self.stale -= 1
                body = self.book.snapshot(old=True)
            self.counts["snapshots"] += status.startswith("200")
        conn.sendall(f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
                     .encode())
        time.sleep(0.2)

    def stream(self, conn, headers):
        if "sec-websocket-extensions" in headers:
            raise ValueError("a client that offers extensions")
        accept = base64.b64encode(hashlib.sha1(headers["sec-websocket-key"].encode() + MAGIC).digest()).decode()
        conn.sendall(("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                      f"Sec-WebSocket-Accept: {accept}\r\n\r\n").encode())
        with self.lock:
            self.streams.append(conn)
            self.counts["connections"] += 1
        try:
            self.listen(conn)
        finally:
            with self.lock:
                if conn in self.streams:
                    self.streams.remove(conn)

    def listen(self, conn):
        def exactly(count):
            data = b""
            while len(data) < count:
                piece = conn.recv(count - len(data))
                if not piece:
                    raise ValueError("closed")
                data += piece
            return data

        while True:
            first, second = exactly(2)
            size = second & 127
            if size == 126:
                size = int.from_bytes(exactly(2), "big")
            if not second & 128:
                raise ValueError("a client must mask")
            mask = exactly(4)
            data = bytes(b ^ mask[i % 4] for i, b in enumerate(exactly(size)))
            kind = first & 15
            with self.lock:
                if kind == PING and not self.deaf:
                    self.send_frame(conn, PONG, data)
                if kind == PONG:
                    self.counts["pongs"] += 1
                if kind == CLOSE:
                    return

    # --- what is sent

    @staticmethod
    def send_frame(conn, kind, data, final=True):
        head = bytes([(128 if final else 0) | kind])
        if len(data) < 126:
            head += bytes([len(data)])
        elif len(data) < 65536:
            head += bytes([126]) + len(data).to_bytes(2, "big")
        else:
            head += bytes([127]) + len(data).to_bytes(8, "big")
        conn.sendall(head + data)

    def send(self, text):
        if self.deaf:
            return
        for conn in list(self.streams):
            try:
                self.send_frame(conn, TEXT, text.encode())
            except OSError:
                self.streams.remove(conn)

    def send_pieces(self, text):
        data = text.encode()
        third = len(data) // 3
        for conn in list(self.streams):
            self.send_frame(conn, TEXT, data[:third], final=False)
            self.send_frame(conn, PING, b"still there?")
            self.send_frame(conn, 0, data[third:2 * third], final=False)
            self.send_frame(conn, 0, data[2 * third:])

    def end(self, orderly):
        for conn in list(self.streams):
            self.streams.remove(conn)
            try:
                if orderly:
                    self.send_frame(conn, CLOSE, (1001).to_bytes(2, "big"))
                conn.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    # --- commands

    def command(self, name, rest):
        book = self.book
        if name == "diffs":
            for _ in range(int(rest)):
                self.send(book.diff())
        elif name == "drop":
            book.diff()
        elif name == "double":
            text = book.diff()
            self.send(text)
            self.send(text)
        elif name == "reorder":
            one, two = book.diff(), book.diff()
            self.send(two)
            self.send(one)
        elif name == "fragment":
            self.send_pieces(book.diff())
        elif name == "big":
            self.send(book.diff(700))
        elif name == "trade":
            self.send(json.dumps({"e": "trade", "E": 1, "s": SYMBOL, "t": 7, "p": "60000.00", "q": "0.5", "T": 1,
                                  "m": True, "M": True}))
        elif name == "text":
            self.send(rest)
        elif name in ("close", "cut"):
            self.end(name == "close")
        elif name in ("deaf", "hear"):
            self.deaf = name == "deaf"
        elif name in ("refuse", "stale"):
            setattr(self, name, int(rest))
        elif name != "state":
            return {"error": f"no command {name}"}
        bid, ask = book.best()
        return {"last_id": book.last_id, "bid": bid, "ask": ask, **self.counts}


def main():
    folder, seed = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1
    make_certificates(folder)
    venue = Venue(folder, seed)
    print(json.dumps({"port": venue.port, "ca": os.path.join(folder, "ca.pem"),
                      "other_ca": os.path.join(folder, "other_ca.pem")}), flush=True)
    for line in sys.stdin:
        name, _, rest = line.strip().partition(" ")
        if name == "quit":
            break
        with venue.lock:
            print(json.dumps(venue.command(name, rest)), flush=True)
    os._exit(0)  # threads may still wait for clients


if __name__ == "__main__":
    main()
