"""failed_sync.py - which sync tests/shim/disk.c let fail, from the lines that it leaves, and whether a node may go on after it. It may
where the log does not lean on the file: what is derived (side stores, archives), flight records, keys, and RocksDB's OPTIONS, with
the sync of the folder behind it. After any other one - commit mark, log, tables, manifests - nobody knows what is on the disk.

SPDX-License-Identifier: Apache-2.0
"""
import errno
import os
import re

ERRORS = [errno.EIO, errno.ENOSPC, errno.EDQUOT]  # that there is no space is no excuse for a sync
SPARE = re.compile(r"(^|/)(side|archive|cold|flight|keys)(/|$)|(^|/)OPTIONS-[^/]*$")


class FailedSync:
    """The last one in what the shim said; None of it if there is none."""

    @staticmethod
    def last(said, root):
        lines = said.splitlines()
        at = max((i for i, line in enumerate(lines) if line.startswith("eio ")), default=None)
        if at is None:
            return None
        behind = lines[at - 1].split(" ")[1] if at and lines[at - 1].startswith("behind ") else ""
        return FailedSync(lines[at].split(" ")[1], behind, root)

    def __init__(self, path, behind, root):
        self.path, self.behind = (os.path.relpath(name, root) if name else "" for name in (path, behind))
        folder = behind != path and os.path.dirname(behind) == path  # the folder of what this thread had synced before
        self.spare = bool(SPARE.search(self.path) or (folder and SPARE.search(self.behind)))

    def kind(self):
        """For a count of outcomes: the file's name without its numbers and places."""
        spare = SPARE.search(self.path) or (SPARE.search(self.behind) if self.spare else None)
        if spare:
            return (spare.group(2) or "OPTIONS") + ("" if SPARE.search(self.path) else "'s folder")
        return re.sub(r"\d+", "", os.path.basename(self.path)).strip("-.") or self.path

    def __str__(self):
        return f"a failed sync of {self.path}" + (f" behind {self.behind}" if self.behind else "")
