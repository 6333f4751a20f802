"""stoa_client.py - a client of a Stoa node in pure Python, written from docs/reference/protocol.md (pyzmq, msgpack).

    client = Client("zmq+tcp://127.0.0.1:7400", "server.pub", "alice")      # keys: server.pub, alice.key, alice.pub
    order = client.place("alice", client_order_id=1, symbol="BTCUSDT", side="buy", price="60000.5", qty="0.01")
    print(order["status"], order.stamp.durability)

Every call waits up to `deadline` seconds and raises StoaError by name; it is sent again, with the same ids, over lost
connections and restarts of the node. Answers are dicts with an attribute `stamp`. Decimals are decimal.Decimal, enumerations
their names, times and numbers ints.

Streams: subscribe(stream, target, callback) calls callback(item) from poll() and from calls that wait; they go on where they
were after a lost connection. What is missing comes as an Item with kind "gap". One thread at a time; no callback may call.

SPDX-License-Identifier: Apache-2.0
"""
import collections
import decimal
import os
import random
import re
import time

import msgpack
import zmq
import zmq.utils.monitor

VERSION = 1
FRAME_BYTES_MAX = 65536
ANSWER, ITEM, GAP, END = 100, 101, 102, 103
PASSING = ("TIMEOUT", "UNAVAILABLE", "FAILED", "CLOSED")

ERRORS = {
    -1: "INVALID", -2: "NOMEM", -3: "FULL", -4: "CLOSED", -5: "CORRUPT", -6: "DENIED", -7: "TIMEOUT", -8: "NOT_FOUND",
    -9: "EXISTS", -10: "STALE", -11: "VERSION", -12: "TOO_LARGE", -13: "MALFORMED", -14: "IO", -15: "RANGE",
    -16: "PRECISION", -17: "UNKNOWN_SYMBOL", -18: "DUPLICATE", -19: "AGAIN", -20: "CANCELLED", -21: "UNAVAILABLE",
    -22: "GAP", -23: "FAILED", -24: "UNSUPPORTED", -25: "FORKED", -26: "NO_HANDLER", -27: "GONE", -28: "SEALED",
}
DURABILITIES = ("none", "memory", "disk", "replica", "quorum")

# --- types: a name of section 2, a list [element], or a name below

ENUMS = {
    "trade_side": ("buy", "sell"),
    "trade_tif": ("gtc", "ioc", "fok", "post_only"),
    "trade_status": ("none", "new", "open", "filled", "cancelled", "rejected"),
    "trade_reason": ("none", "invalid", "insufficient_funds", "position_limit", "leverage_limit", "daily_loss",
                     "insufficient_margin", "book_full", "would_take", "not_fillable", "client", "ioc_rest", "self_trade",
                     "too_many_orders", "sweep_limit"),
    "market_book_status": ("waiting", "live", "resyncing"),
}


def fields(text):
    """"name:type name:type ..." as [(name, type)]; a type in brackets is a list of it."""
    pairs = [field.split(":") for field in text.split()]
    return [(name, [kind[1:-1]] if kind.startswith("[") else kind) for name, kind in pairs]


RECORDS = {
    "trade_order": fields("order_id:uint client_order_id:uint symbol:text side:trade_side tif:trade_tif status:trade_status "
                          "reason:trade_reason fills:uint price:decimal qty:decimal filled_qty:decimal "
                          "filled_notional:decimal placed_ns:uint changed_ns:uint"),
    "trade_balance": fields("asset:text free:decimal reserved:decimal transit:decimal"),
    "room_entry": fields("seq:uint at_ns:uint client_post_id:uint author:text text:text"),
    "market_level": fields("price:decimal qty:decimal"),
}

NOTHING = []
ORDER = fields("order:trade_order")
PAGE = fields("more:uint orders:[trade_order] seq:uint")
WHICH_ORDER = fields("order_id:uint client_order_id:uint")
AUTHOR = fields("author:text")
VIEW = fields("symbol:text last_id:uint orders:uint trades:uint volume:decimal bids:[market_level] asks:[market_level]")
MIRROR = fields("venue:text symbol:text status:market_book_status reserved8:uint reserved16:uint waiting:uint last_id:uint "
                "venue_time_ms:uint rows:uint snapshots:uint diffs_applied:uint gaps:uint duplicates:uint resyncs:uint "
                "healed:uint dropped:uint levels_dropped:uint trades:uint tops:uint bid_levels:uint ask_levels:uint "
                "bids:[market_level] asks:[market_level]")

Op = collections.namedtuple("Op", "no request answer")
OPS = {
    "hello": Op(1, fields("version_min:uint version_max:uint session:uint client:text remember:uint"),
                fields("version:uint heartbeat_ms:uint frame_bytes_max:uint requests_max:uint streams_max:uint "
                       "backlog_items:uint deadline_ms:uint deadline_ms_max:uint server:text identity:text session:uint")),
    "ping": Op(2, fields("token:uint"), fields("token:uint server_ns:uint")),
    "subscribe": Op(3, fields("stream:uint resume:uint after:uint"), fields("newest:uint")),
    "unsubscribe": Op(4, fields("stream:uint"), NOTHING),
    "order.place": Op(10, fields("client_order_id:uint symbol:text side:trade_side tif:trade_tif reserved16:uint "
                                 "reserved32:uint price:decimal qty:decimal"), ORDER),
    "order.cancel": Op(11, WHICH_ORDER, ORDER),
    "order.query": Op(12, WHICH_ORDER, ORDER),
    "order.list": Op(13, fields("after_order_id:uint open_only:uint"), PAGE),
    "account.balances": Op(14, NOTHING, fields("balances:[trade_balance] open_orders:uint day_pnl:decimal")),
    "room.post": Op(20, fields("author:text client_post_id:uint text:text"), fields("seq:uint at_ns:uint")),
    "room.history": Op(21, fields("author:text from_seq:uint limit:uint"),
                       fields("first_kept:uint last:uint entries:[room_entry]")),
    "room.join": Op(22, AUTHOR, NOTHING),
    "room.leave": Op(23, AUTHOR, NOTHING),
    "room.members": Op(24, AUTHOR, fields("last:uint members:[text]")),
    "book.depth": Op(30, fields("limit:uint"), VIEW),
    "market.view": Op(31, fields("limit:uint"), MIRROR),
    "plugin.ask": Op(40, fields("instance:text message:text payload:text"), fields("payload:text")),
}

ItemType = collections.namedtuple("ItemType", "name payload snapshot")
ITEMS = {
    1: ItemType("order", fields("seq:uint order:trade_order"), False),
    2: ItemType("orders", PAGE, True),
    3: ItemType("book", VIEW, True),
    4: ItemType("diff", fields("symbol:text first_id:uint last_id:uint venue_time_ms:uint more:uint bids:[market_level] "
                               "asks:[market_level]"), False),
    5: ItemType("trade", fields("symbol:text trade_id:uint venue_time_ms:uint price:decimal qty:decimal taker_side:uint"),
                False),
    6: ItemType("message", fields("entry:room_entry"), False),
    7: ItemType("top", fields("symbol:text last_id:uint bid:decimal bid_qty:decimal ask:decimal ask_qty:decimal "
                              "venue_time_ms:uint"), False),
    8: ItemType("mirror", MIRROR, True),
}

StreamType = collections.namedtuple("StreamType", "no snapshot dense")
STREAMS = {
    "orders": StreamType(1, True, True),
    "book": StreamType(2, True, True),
    "trades": StreamType(3, False, True),
    "room": StreamType(4, False, True),
    "market.top": StreamType(5, False, False),
    "market.trade": StreamType(6, False, False),
    "market.diff": StreamType(7, True, True),
}

ZEROS = {"uint": 0, "text": "", "decimal": "0"}


class StoaError(Exception):
    """name is that of the page's errors; text is what the node said; stamp is None where no node said it."""

    def __init__(self, name, text="", stamp=None):
        super().__init__(f"{name}: {text}" if text else name)
        self.name, self.text, self.stamp = name, text, stamp


class Answer(dict):
    """An answer's fields by name."""
    stamp = None


Stamp = collections.namedtuple("Stamp", "durability position")

# kind: an item's name, "gap" (from_seq, to_seq) or "end" (error, text)
Item = collections.namedtuple("Item", "stream kind seq stamp payload from_seq to_seq error text",
                              defaults=(0, None, None, 0, 0, "", ""))


# --- payloads

def pack_value(kind, value):
    if isinstance(kind, list):
        return [pack_value(kind[0], element) for element in value]
    if kind in RECORDS:
        return pack(RECORDS[kind], value)
    if kind in ENUMS:
        if value not in ENUMS[kind]:
            raise StoaError("INVALID", f"{value!r} is no {kind}")
        return ENUMS[kind].index(value)
    if kind == "decimal":
        try:
            return format(decimal.Decimal(value), "f")
        except (decimal.InvalidOperation, TypeError, ValueError):
            raise StoaError("INVALID", f"{value!r} is no decimal") from None
    return value


def pack(record, values):
    return [pack_value(kind, values.get(name, zero_of(kind))) for name, kind in record]


def zero_of(kind):
    if isinstance(kind, list):
        return []
    return ENUMS[kind][0] if kind in ENUMS else ZEROS.get(kind, {})


def unpack_value(kind, value):
    if isinstance(kind, list):
        return [unpack_value(kind[0], element) for element in value]
    if kind in RECORDS:
        return unpack(RECORDS[kind], value)
    if kind in ENUMS:
        return ENUMS[kind][value] if value < len(ENUMS[kind]) else str(value)
    return decimal.Decimal(value) if kind == "decimal" else value


def unpack(record, values):
    """Missing trailing fields are zero, unknown ones are left out."""
    out = Answer()
    for index, (name, kind) in enumerate(record):
        value = values[index] if index < len(values) else pack_value(kind, zero_of(kind))
        out[name] = unpack_value(kind, value)
    return out


# --- the connection

def read_key(path):
    try:
        with open(path, encoding="ascii") as file:
            return file.read().strip().encode()
    except FileNotFoundError:
        raise StoaError("NOT_FOUND", path) from None


class Link:
    """One DEALER per connection, so that nothing of an old connection mixes with the new one.

    step(timeout) returns what happened: ("up",), ("down",), ("refused",), ("frame", bytes).
    """

    PAUSE_FIRST, PAUSE_MAX = 0.04, 1.0

    def __init__(self, endpoint, server_key, public_key, secret_key):
        scheme, _, rest = endpoint.partition("://")
        if scheme not in ("zmq+tcp", "zmq+ipc"):
            raise StoaError("UNSUPPORTED", endpoint)
        self.address = scheme[4:] + "://" + rest
        self.keys = (server_key, public_key, secret_key)
        self.context = zmq.Context()
        self.socket = self.monitor = None
        self.is_up = False
        self.pause, self.dial_at = self.PAUSE_FIRST, 0.0

    def dial(self):
        socket = self.context.socket(zmq.DEALER)
        socket.linger = 0
        socket.maxmsgsize = FRAME_BYTES_MAX + 64
        socket.setsockopt(zmq.PROBE_ROUTER, 1)
        socket.setsockopt(zmq.HANDSHAKE_IVL, 5000)
        socket.setsockopt(zmq.RECONNECT_IVL, 24 * 3600 * 1000)  # a new socket dials again
        socket.curve_serverkey, socket.curve_publickey, socket.curve_secretkey = self.keys
        self.monitor = socket.get_monitor_socket()
        socket.connect(self.address)
        self.socket = socket

    def hang_up(self):
        if self.socket:
            self.socket.disable_monitor()
            self.monitor.close(0)
            self.socket.close(0)
        self.socket = self.monitor = None
        self.is_up = False
        self.dial_at = time.monotonic() + self.pause * random.uniform(0.5, 1)
        self.pause = min(self.pause * 2, self.PAUSE_MAX)

    def close(self):
        self.hang_up()
        self.context.term()

    def send(self, frame):
        if not self.is_up:
            return False
        try:
            self.socket.send(frame, zmq.DONTWAIT)
            return True
        except zmq.Again:
            return False

    def step(self, timeout):
        if not self.socket:
            wait = self.dial_at - time.monotonic()
            if wait > 0:
                time.sleep(min(wait, timeout))
                return []
            self.dial()
        poller = zmq.Poller()
        poller.register(self.socket, zmq.POLLIN)
        poller.register(self.monitor, zmq.POLLIN)
        poller.poll(max(0, timeout) * 1000)
        events = self.watch()
        return events + self.receive() if self.is_up else events

    def watch(self):
        events, lost = [], False
        while self.monitor.poll(0):
            event = zmq.utils.monitor.recv_monitor_message(self.monitor, zmq.DONTWAIT)["event"]
            if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self.is_up = True
                events.append(("up",))
            elif event in (zmq.EVENT_HANDSHAKE_FAILED_AUTH, zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL):
                events.append(("refused",))
                lost = True
            elif event in (zmq.EVENT_DISCONNECTED, zmq.EVENT_CLOSED, zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL):
                lost = True
        if lost:
            events += self.receive() if self.is_up else []
            events += [("down",)] if self.is_up else []
            self.hang_up()
        return events

    def receive(self):
        events = []
        while self.socket:
            try:
                parts = self.socket.recv_multipart(zmq.DONTWAIT)
            except zmq.Again:
                break
            if len(parts) > 1:  # good-bye; CLOSED: the node stops, which is no verdict on us
                self.hang_up()
                return events + ([] if parts[1:] == [b"CLOSED"] else [("refused",)]) + [("down",)]
            if parts[0]:
                self.pause = self.PAUSE_FIRST
                events.append(("frame", parts[0]))
        return events


class Call:
    """A request that has no answer yet."""

    def __init__(self, op, target, payload, until, stream=None):
        self.op, self.target, self.payload, self.until, self.stream = op, target, payload, until, stream
        self.sent, self.again, self.pause = False, 0.0, 0.02
        self.named = 0  # the session that it was sent in first, whose memory knows it
        self.answer = self.error = None


class Stream:
    def __init__(self, handle, kind, target, after, callback):
        self.handle, self.kind, self.target, self.callback = handle, kind, target, callback
        self.wire_id = 0
        self.begun = False
        self.placed = after is not None  # last is what the caller has seen
        self.last = after or 0


def own_number():
    """Of a session, until the node gives it one."""
    return random.getrandbits(63) | 1 << 63


class Client:
    """See the top of the file. key is the path of the own key pair without its ending."""

    def __init__(self, endpoint, server_key, key, name="stoa_client.py"):
        secret = read_key(key + ".key")
        if os.stat(key + ".key").st_mode & 0o077:
            raise StoaError("DENIED", f"{key}.key may be read by others")
        self.files = (server_key, key + ".key")
        self.link = Link(endpoint, read_key(server_key), zmq.curve_public(secret), secret)
        self.refused_keys = set()  # of the node, in this round of what the files have
        self.name, self.session = name, own_number()
        self.renew = False  # the node has forgotten requests of the session: another begins when none of it is under way
        self.ready, self.welcome, self.refused, self.refusals = False, {}, None, 0
        self.ids, self.calls, self.streams = 10, {}, {}
        self.heard = self.greet_at = 0.0
        self.pinged = None
        self.sessions = 0

    def close(self):
        self.link.close()

    # --- operations

    def place(self, account, client_order_id, symbol, side, price, qty, tif="gtc", deadline=5.0):
        order = {"client_order_id": client_order_id, "symbol": symbol, "side": side, "tif": tif, "price": price, "qty": qty}
        return self.call("order.place", account, order, deadline, "order")

    def cancel(self, account, order_id=0, client_order_id=0, deadline=5.0):
        which = {"order_id": order_id, "client_order_id": client_order_id}
        return self.call("order.cancel", account, which, deadline, "order")

    def query(self, account, order_id=0, client_order_id=0, deadline=5.0):
        which = {"order_id": order_id, "client_order_id": client_order_id}
        return self.call("order.query", account, which, deadline, "order")

    def orders(self, account, after_order_id=0, open_only=False, deadline=5.0):
        which = {"after_order_id": after_order_id, "open_only": int(open_only)}
        return self.call("order.list", account, which, deadline)

    def balances(self, account, deadline=5.0):
        return self.call("account.balances", account, {}, deadline)

    def join(self, room, deadline=5.0):
        return self.call("room.join", room, {}, deadline)

    def leave(self, room, deadline=5.0):
        return self.call("room.leave", room, {}, deadline)

    def post(self, room, client_post_id, text, deadline=5.0):
        return self.call("room.post", room, {"client_post_id": client_post_id, "text": text}, deadline)

    def history(self, room, from_seq=0, limit=0, deadline=5.0):
        return self.call("room.history", room, {"from_seq": from_seq, "limit": limit}, deadline)

    def members(self, room, deadline=5.0):
        return self.call("room.members", room, {}, deadline)

    def plugin_ask(self, plugin, instance, message, payload="", deadline=5.0):
        """payload and the answer's are JSON texts."""
        return self.call("plugin.ask", plugin, {"instance": instance, "message": message, "payload": payload}, deadline)

    def depth(self, symbol, limit=0, deadline=5.0):
        return self.call("book.depth", symbol, {"limit": limit}, deadline)

    def market(self, venue_symbol, limit=0, deadline=5.0):
        return self.call("market.view", venue_symbol, {"limit": limit}, deadline)

    # --- calls

    def call(self, op, target, values, deadline=5.0, inner=None):
        """Any operation by name; inner: the one field that is the answer."""
        payload = msgpack.packb(pack(OPS[op].request, values))
        call = self.start(op, target, payload, deadline)
        answer = self.wait(call)
        if inner:
            stamp, answer = answer.stamp, answer[inner]
            answer.stamp = stamp
        return answer

    def start(self, op, target, payload, deadline, stream=None):
        self.ids += 1
        call = self.calls[self.ids] = Call(op, target, payload, time.monotonic() + deadline, stream)
        if stream:
            stream.wire_id = self.ids
        self.send_calls()
        return call

    def wait(self, call):
        while call.answer is None and call.error is None:
            self.step(0.2)
        if call.error:
            raise call.error
        return call.answer

    def wait_ready(self, deadline=5.0):
        until = time.monotonic() + deadline
        while not self.ready:
            if self.refused:
                raise self.refused
            if time.monotonic() > until:
                raise StoaError("TIMEOUT", "no session")
            self.step(0.05)

    # --- streams

    def subscribe(self, stream, target, callback, after=None, deadline=5.0):
        """after: the last number seen; None: begin with a snapshot or with what comes next. Returns a handle."""
        self.ids += 1
        new = self.streams[self.ids] = Stream(self.ids, stream, target, after, callback)
        try:
            self.wait(self.ask_stream(new, deadline))
        except StoaError:
            self.streams.pop(new.handle, None)
            raise
        return new.handle

    def ask_stream(self, stream, deadline):
        values = {"stream": STREAMS[stream.kind].no, "resume": int(stream.placed), "after": stream.last}
        payload = msgpack.packb(pack(OPS["subscribe"].request, values))
        return self.start("subscribe", stream.target, payload, deadline, stream)

    def unsubscribe(self, handle):
        stream = self.streams.pop(handle, None)
        if not stream:
            raise StoaError("NOT_FOUND", "no such stream")
        self.calls.pop(stream.wire_id, None)
        self.say("unsubscribe", 3, {"stream": stream.wire_id})

    # --- the loop

    def poll(self, timeout=0.0):
        """Handle what is there; wait up to timeout seconds for the first of it. Returns whether anything came."""
        until = time.monotonic() + timeout
        while True:
            if self.step(max(0.0, min(0.2, until - time.monotonic()))):
                return True
            if time.monotonic() >= until:
                return False

    def step(self, timeout):
        events = self.link.step(min(timeout, self.next_due()))
        for event in events:
            getattr(self, "on_" + event[0])(*event[1:])
        self.keep_alive()
        self.end_overdue()
        self.send_calls()
        return bool(events)

    def next_due(self):
        now = time.monotonic()
        due = [call.until for call in self.calls.values()] + [call.again for call in self.calls.values() if call.again > now]
        return max(0.0, min(due, default=now + 1.0) - now)

    def on_up(self):
        self.heard = time.monotonic()
        self.greet()

    def on_down(self):
        self.lose_session()
        self.greet_at = 0.0

    def other_keys(self):
        """What it dials with was refused: read the files again, which may have been rotated; server.next.pub is what the node has
        announced. Whether there is one that was not refused in this round."""
        server_key, own = self.files
        try:
            secret, servers = read_key(own), [read_key(server_key)]
        except StoaError:
            return False
        try:
            servers.append(read_key(re.sub(r"\.pub$", ".next.pub", server_key)))
        except StoaError:
            pass
        if secret != self.link.keys[2]:
            self.refused_keys = set()
        else:
            self.refused_keys.add(self.link.keys[0])
        left = [server for server in servers if server not in self.refused_keys]
        others = left or [server for server in servers if server != self.link.keys[0]] or servers
        self.link.keys = (others[0], zmq.curve_public(secret), secret)
        if not left:
            self.refused_keys = set()
        return bool(left)

    def on_refused(self):
        if self.other_keys():
            return
        self.refusals += 1
        if self.refusals >= 2:  # one can be a node that died within the handshake
            self.refuse(StoaError("DENIED", "the node does not know this key, or has another one"))

    def refuse(self, error):
        self.refused = error
        for id_ in [id_ for id_, call in self.calls.items() if not (call.stream and call.stream.begun)]:
            self.calls.pop(id_).error = error

    def on_frame(self, frame):
        self.heard = time.monotonic()
        words = msgpack.unpackb(frame)
        if words[0] != VERSION:
            return
        if words[1] == ANSWER:
            self.on_answer(*words[2:7])
        elif words[1] == ITEM:
            self.on_item(*words[2:8])
        elif words[1] == GAP:
            self.on_gap(*words[2:5])
        elif words[1] == END:
            self.on_end(*words[2:5])

    # --- session

    def say(self, op, id_, values, target=""):
        payload = pack(OPS[op].request, values)
        return self.link.send(msgpack.packb([VERSION, OPS[op].no, id_, target, payload]))

    def greet(self):
        hello = {"version_min": VERSION, "version_max": VERSION, "session": self.session, "client": self.name,
                 "remember": 1}
        self.say("hello", 1, hello)
        self.greet_at = time.monotonic() + 1.0

    def lose_session(self):
        self.ready, self.pinged = False, None
        for id_, call in list(self.calls.items()):
            call.sent, call.again = False, 0.0
            if call.stream and call.stream.begun:
                del self.calls[id_]  # the next session subscribes anew

    def on_hello(self, error, answer):
        if self.ready:
            return
        if error:
            if error.name in ("DENIED", "VERSION"):
                self.refuse(error)
            return
        self.ready, self.welcome, self.refused, self.refusals = True, answer, None, 0
        self.refused_keys = set()
        self.pinged = None
        self.session = answer["session"] or self.session
        self.sessions += 1
        for stream in list(self.streams.values()):
            if stream.begun:
                self.ask_stream(stream, 10.0)

    def keep_alive(self):
        now = time.monotonic()
        if self.link.is_up and not self.ready and self.greet_at and now >= self.greet_at:
            self.greet()
        if not self.ready:
            return
        beat = self.welcome["heartbeat_ms"] / 1000
        if self.pinged and self.heard > self.pinged:
            self.pinged = None
        if self.pinged and now > self.pinged + 3 * beat:
            self.link.hang_up()
            self.on_down()
        elif not self.pinged and now > self.heard + beat and self.say("ping", 2, {"token": 0}):
            self.pinged = now

    # --- answers

    def on_answer(self, id_, code, durability, position, payload):
        stamp = Stamp(DURABILITIES[durability] if durability < len(DURABILITIES) else str(durability), position)
        error = StoaError(ERRORS.get(code, str(code)), payload, stamp) if code else None
        if error and error.name == "CLOSED" and self.ready:
            self.lose_session()
            self.greet()
        if id_ == 1:
            self.on_hello(error, None if error else unpack(OPS["hello"].answer, payload))
            return
        call = self.calls.get(id_)
        if not call or not call.sent:
            return
        once = call.op == "plugin.ask" and error and error.name in ("FAILED", "TIMEOUT")  # of the request itself, or done
        if error and error.name in PASSING and not once and self.try_again(call):
            return
        del self.calls[id_]
        if error:
            self.renew = self.renew or (error.name == "STALE" and bool(self.welcome.get("session")))
            self.end_call(call, error)
            return
        call.answer = unpack(OPS[call.op].answer, payload)
        call.answer.stamp = stamp
        if call.stream:
            self.on_subscribed(call.stream, call.answer["newest"])

    def try_again(self, call):
        again = time.monotonic() + call.pause
        if again >= call.until:
            return False
        call.sent, call.again, call.pause = False, again, min(call.pause * 2, 0.5)
        return True

    def end_call(self, call, error):
        call.error = error
        stream = call.stream
        if not stream or not stream.begun:
            return
        if error.name in ("TIMEOUT", "UNAVAILABLE", "FULL", "FAILED"):
            self.ask_stream(stream, 10.0).again = time.monotonic() + 0.5
        else:
            self.on_end(stream.wire_id, None, error.text, error.name)

    def end_overdue(self):
        now = time.monotonic()
        for id_ in [id_ for id_, call in self.calls.items() if now >= call.until]:
            call = self.calls.pop(id_)
            if call.stream and call.sent:
                self.say("unsubscribe", 3, {"stream": id_})
            self.end_call(call, StoaError("TIMEOUT", "the outcome is unknown"))

    def send_calls(self):
        if self.ready and self.renew and not any(call.named == self.session for call in self.calls.values()):
            self.renew, self.session = False, own_number()  # what is under way is asked for under its old name only
            self.lose_session()
            self.greet()
        if not self.ready:
            return
        now = time.monotonic()
        under_way = sum(call.sent for call in self.calls.values())
        for id_, call in self.calls.items():
            if call.sent or now < call.again or under_way >= self.welcome["requests_max"]:
                continue
            if self.renew and call.named != self.session:
                continue  # it belongs to the next session
            left_ms = max(1, int((call.until - now) * 1000))
            head = msgpack.packb([VERSION, OPS[call.op].no, id_, call.target])
            frame = b"\x96" + head[1:] + call.payload + msgpack.packb(left_ms)
            if not self.link.send(frame):
                break
            call.sent, call.named = True, call.named or self.session
            under_way += 1

    # --- items

    def stream_of(self, wire_id):
        return next((stream for stream in self.streams.values() if stream.wire_id == wire_id), None)

    def on_subscribed(self, stream, newest):
        stream.begun = True
        if not stream.placed and not STREAMS[stream.kind].snapshot:
            stream.placed, stream.last = True, newest

    def on_item(self, wire_id, item, seq, durability, position, payload):
        stream, kind = self.stream_of(wire_id), ITEMS.get(item)
        if not stream or not kind:
            return
        values = unpack(kind.payload, payload)
        whole = not values.get("more", 0)
        if kind.snapshot:
            stream.last, stream.placed = seq, whole
        else:
            if STREAMS[stream.kind].dense and stream.placed:
                if seq <= stream.last:
                    return
                first = values.get("first_id", seq)
                if first > stream.last + 1:
                    self.on_gap(wire_id, stream.last + 1, first - 1)
            if whole and (stream.placed or not STREAMS[stream.kind].snapshot):
                stream.last, stream.placed = seq, True
        stamp = Stamp(DURABILITIES[durability] if durability < len(DURABILITIES) else str(durability), position)
        stream.callback(Item(stream.handle, kind.name, seq, stamp, values))

    def on_gap(self, wire_id, from_seq, to_seq):
        stream = self.stream_of(wire_id)
        if stream:
            stream.last, stream.placed = to_seq, not STREAMS[stream.kind].snapshot
            stream.callback(Item(stream.handle, "gap", from_seq=from_seq, to_seq=to_seq))

    def on_end(self, wire_id, code, text, name=None):
        stream = self.stream_of(wire_id)
        if stream:
            del self.streams[stream.handle]
            stream.callback(Item(stream.handle, "end", error=name or ERRORS.get(code, str(code)), text=text))
