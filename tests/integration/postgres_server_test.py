"""postgres_server_test.py - goal: a PostgreSQL of a test that was killed leaves nothing on the machine. Method: one is killed with -9 and
its folder removed without another start: no process of it had anything of /dev/shm mapped, and its System V segment is gone.

SPDX-License-Identifier: Apache-2.0
"""
import os

from postgres_server import Postgres


def mapped(server):
    """Files of /dev/shm that the server's processes have mapped."""
    names = set()
    for pid in server.children():
        try:
            with open(f"/proc/{pid}/maps", encoding="utf-8") as maps:
                names |= {line.split()[-1] for line in maps if "/dev/shm/" in line}
        except FileNotFoundError:
            pass  # it has ended: autovacuum's workers come and go
    return names


def segments():
    with open("/proc/sysvipc/shm", encoding="ascii") as shm:
        return {int(line.split()[1]) for line in list(shm)[1:]}


def main():
    server = Postgres()
    try:
        assert server.one("SELECT 1") == "1"
        assert not mapped(server), f"{mapped(server)} would stay in /dev/shm"
        with open(os.path.join(server.data, "postmaster.pid"), encoding="ascii") as pid:
            segment = int(pid.read().splitlines()[6].split()[1])
        assert segment in segments(), f"{segment} is not the server's segment"
        server.kill()
    finally:
        server.close()
    assert segment not in segments(), f"segment {segment} is left"
    assert not os.path.exists(server.folder)
    print("nothing is left of a server that was killed")


if __name__ == "__main__":
    main()
