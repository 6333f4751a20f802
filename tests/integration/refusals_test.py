"""refusals_test.py - goal: who is refused for a field hears its name and what it may be, not its error alone. Method: a real node, and requests
that are wrong in one field each, as the bytes on the wire say it.

SPDX-License-Identifier: Apache-2.0
"""
import unittest

import msgpack

from running_node import Node
from stoa_client import Client, StoaError

PLACE = {"client_order_id": 5, "symbol": "BTCUSDT", "side": 0, "tif": 0, "reserved16": 0, "reserved32": 0, "price": "60000", "qty": "0.01"}


def place(**wrong):
    return list({**PLACE, **wrong}.values())


ROWS = [  # operation, target, payload, error, what the text says
    ("order.place", "alice", place(client_order_id=0), "INVALID", "trade_account.place.client_order_id is to be 1 or more"),
    ("order.place", "alice", place(client_order_id=-1), "RANGE", "0 to 18446744073709551615, in trade_account.place.client_order_id"),
    ("order.place", "alice", place(symbol="X" * 40), "TOO_LARGE", "40 bytes; at most 14, in trade_account.place.symbol"),
    ("order.place", "alice", place(side=7), "INVALID", "0 buy, 1 sell, in trade_account.place.side"),
    ("order.place", "alice", place(tif="gtc"), "INVALID", "0 gtc, 1 ioc, 2 fok, 3 post_only, in trade_account.place.tif"),
    ("order.place", "alice", place(reserved16=65536), "RANGE", "0 to 65535, in trade_account.place.reserved16"),
    ("order.place", "alice", place(price="0"), "INVALID", "trade_account.place.price is to be above 0"),
    ("order.place", "alice", place(price="-1"), "INVALID", "trade_account.place.price is to be above 0"),
    ("order.place", "alice", place(price="x"), "INVALID", "trade_account.place.price"),
    ("order.place", "alice", place(price="60000.001"), "PRECISION", "price is not a multiple of the symbol's tick"),
    ("order.place", "alice", place(price="900000"), "RANGE", "price is above 16777215 ticks"),
    ("order.place", "alice", place(qty="0"), "INVALID", "trade_account.place.qty is to be above 0"),
    ("order.place", "alice", place(qty="0.000001"), "PRECISION", "or qty of its lot"),
    ("order.place", "alice", place(qty="9999999999"), "RANGE", "or price times qty above"),
    ("order.place", "alice", place(qty="0.000000001"), "PRECISION", "trade_account.place.qty"),
    ("order.query", "alice", ["a", 0], "INVALID", "trade_account.query.order_id"),
    ("room.post", "lobby", ["", 0, "hi"], "INVALID", "room.post.client_post_id is to be 1 or more"),
    ("room.post", "lobby", ["", 1, ""], "INVALID", "room.post.text is to be 1 byte or more"),
    ("room.post", "lobby", ["", 1, "a\0"], "INVALID", "without control characters"),
    ("room.post", "lobby", ["", 1, "a" * 1023], "TOO_LARGE", "1023 bytes; at most 1022, in room.post.text"),
    ("room.post", "no/room", ["", 1, "a"], "INVALID", "target: 1 to 30 bytes"),
    ("room.post", "nowhere", ["", 1, "a"], "NOT_FOUND", "no room/nowhere"),
    ("market.view", "BTCUSDT", [0], "INVALID", "target: VENUE.SYMBOL"),
    ("book.depth", "BTCUSDT", [-1], "RANGE", "0 to 18446744073709551615, in trade_book.depth.limit"),
    ("subscribe", "lobby", [99, 0, 0], "INVALID", "client.subscribe.stream"),
    ("subscribe", "", [4, 0, 0], "INVALID", "target: 1 to 30 bytes"),
    ("plugin.ask", "tally", ["", "", ""], "DENIED", "the plug-in is not this client's"),
]


class Refusals(unittest.TestCase):
    def test_a_field_at_fault_is_named_with_its_bounds(self):
        node = Node()
        self.addCleanup(node.close)
        node.start()
        client = Client(node.endpoint, node.key("server") + ".pub", node.key("alice"))
        self.addCleanup(client.close)
        client.wait_ready(60)
        client.join("lobby", deadline=60)
        for op, target, payload, error, text in ROWS:
            with self.subTest(op=op, payload=payload):
                with self.assertRaises(StoaError) as got:
                    client.wait(client.start(op, target, msgpack.packb(payload), 60))
                self.assertEqual(got.exception.name, error, got.exception)
                self.assertIn(text, got.exception.text)


if __name__ == "__main__":
    unittest.main()
