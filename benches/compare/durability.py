"""Are a server's writes on the drive when it answers?

Documentation promises; system calls show. While one connection puts small objects, strace counts the calls of the
server that sync files. What goes through io_uring strace can't see: the drive's own count of cache flushes shows
that, though it counts what any other program causes, too. A server that syncs for each write is durable; one that
never does is not.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

SYNCS = "fsync,fdatasync,sync_file_range,msync,syncfs,sync"
ATTACH_SECONDS_MAX = 20

# Syncs, or flushes, for each object: from here on each write was synced, below the second one none was.
EACH, NONE = 0.9, 0.05


def judge(peer, syncs, flushes):
    """What the counts say, in words; either may be unknown."""
    if _uses_io_uring(peer.process):
        if flushes is None:
            return "as documented (io_uring, and the drive's flushes are unknown)"
        return "durable (io_uring; by the drive's flushes)" if flushes >= EACH else "not seen to be durable"
    if syncs is None:
        return "as documented (not traced)"
    return "syncs each write" if syncs >= EACH else "syncs some writes" if syncs >= NONE else "not durable"


class Flushes:
    """Counts flushes of the cache of the drive that a folder is on."""

    def __init__(self, folder):
        device = os.stat(folder).st_dev
        self.statistics = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat")
        self.before = self.per_put = None

    def begin(self):
        self.before = self._count()

    def end(self, event):
        after = self._count()
        if self.before is not None and after is not None:
            self.per_put = (after - self.before) / event["requests"]
        return {}

    def _count(self):
        """Field 16, which Linux has since 5.5."""
        with contextlib.suppress(OSError, IndexError, ValueError):
            return int(self.statistics.read_text().split()[15])
        return None


class Syncs:
    """Counts the server's syncing calls, with strace on all of its threads."""

    def __init__(self, process, folder):
        self.process, self.out = process, folder / "strace.txt"
        self.tracer = self.per_put = None

    def begin(self):
        if not shutil.which("strace"):
            return
        command = ["strace", "-f", "-c", "-q", "-o", str(self.out), "-e", f"trace={SYNCS}"]
        for number in self.process.tree():
            command += ["-p", str(number)]
        quiet = subprocess.DEVNULL
        self.tracer = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet)
        if not self._is_attached():
            self._detach()
            self.tracer = None

    def end(self, event):
        if self.tracer:
            self._detach()
            calls = 0
            for line in self.out.read_text().splitlines() if self.out.exists() else []:
                row = re.match(r"\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)$", line)
                calls += int(row[1]) if row and row[2] in SYNCS.split(",") else 0
            self.per_put = calls / event["requests"]
        return {}

    def _is_attached(self):
        """Waits until every thread that there is now is traced."""
        end = time.monotonic() + ATTACH_SECONDS_MAX
        while time.monotonic() < end and self.tracer.poll() is None:
            threads = [f"/proc/{number}/task" for number in self.process.tree()]
            if all(_is_traced(f"{folder}/{name}") for folder in threads for name in os.listdir(folder)):
                return True
            time.sleep(0.05)
        return False

    def _detach(self):
        """It writes its table when it is interrupted, and lets the server go."""
        self.tracer.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.tracer.wait(ATTACH_SECONDS_MAX)
        self.tracer.kill()
        self.tracer.wait()


def _is_traced(task):
    with contextlib.suppress(OSError):
        return not re.search(r"TracerPid:\s+0\b", Path(f"{task}/status").read_text())
    # It has ended meanwhile.
    return True


def _uses_io_uring(process):
    for number in process.tree():
        with contextlib.suppress(OSError):
            for file in os.scandir(f"/proc/{number}/fd"):
                if "io_uring" in os.readlink(file.path):
                    return True
    return False
