"""The machine: CPUs, free ports, and processes with what they use."""

import contextlib
import ctypes
import http.client
import os
import platform
import resource
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

START_SECONDS_MAX = 90
# SeaweedFS would take half a minute to part from itself.
STOP_SECONDS_MAX = 5
REST_SECONDS = 0.2
REST_SECONDS_MAX = 5
# A server rests if it uses no more of its CPU: some never stop doing something in the background.
REST_SHARE = 0.02

TICK_SECONDS = 1 / os.sysconf("SC_CLK_TCK")


class Failure(Exception):
    """Something that a line in the report tells."""


def cpus_of(text):
    """The CPUs of a list like `0,2-3`."""
    cpus = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        cpus.update(range(int(first), int(last or first) + 1))
    return sorted(cpus)


def default_cpus():
    """One for the server, all others for the client; the same one if there is no other."""
    cpus = sorted(os.sched_getaffinity(0))
    return cpus[:1], cpus[1:] or cpus


def free_port(distance=10000):
    """A port on loopback that nobody has, and whose neighbour `distance` above is free, too: some servers take it
    for their own purposes."""
    while True:
        with contextlib.ExitStack() as stack:
            probes = [stack.enter_context(socket.socket()) for _ in range(2)]
            try:
                probes[0].bind(("127.0.0.1", 0))
                port = probes[0].getsockname()[1]
                probes[1].bind(("127.0.0.1", port + distance))
                return port
            except (OSError, OverflowError):
                continue


def describe():
    """One line about the hardware, for the head of a report."""
    model = next(
        (line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
         if line.startswith("model name")), "unknown processor")
    return f"{model}, {os.cpu_count()} CPUs, Linux {platform.release()}"


def load_average():
    return "{:.1f} {:.1f} {:.1f}".format(*os.getloadavg())


def raise_limits():
    """Lets servers lock their buffers in memory and open many files, as far as this process may allow it."""
    for name in (resource.RLIMIT_MEMLOCK, resource.RLIMIT_NOFILE):
        _, hard = resource.getrlimit(name)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(name, (hard, hard))
        if name == resource.RLIMIT_MEMLOCK and os.geteuid() == 0:
            with contextlib.suppress(OSError, ValueError):
                resource.setrlimit(name, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


class Process:
    """A server on its CPUs, with everything that it started."""

    def __init__(self, command, cpus, log, environment=None, folder=None):
        self.log = Path(log)
        with open(log, "ab") as out:
            self.child = subprocess.Popen(
                ["taskset", "-c", ",".join(map(str, cpus)), *map(str, command)],
                env=environment, cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                preexec_fn=_die_with_parent)

    def tree(self):
        """Numbers of the process and its descendants."""
        found, waiting = [], [self.child.pid]
        while waiting:
            process = waiting.pop()
            found.append(process)
            for task in _names(f"/proc/{process}/task"):
                with contextlib.suppress(OSError):
                    waiting += map(int, Path(f"/proc/{process}/task/{task}/children").read_text().split())
        return found

    def cpu_seconds(self):
        """CPU time of the tree, user and system, since it started; all threads, those that ended included. The clock
        of a process is what /proc/PID/stat shows in ticks of 10 ms, in nanoseconds."""
        total = 0.0
        for process in self.tree():
            with contextlib.suppress(OSError):
                total += time.clock_gettime((~process << 3) | 2)
        return total

    def user_and_system(self):
        """How `cpu_seconds` splits, as far as the kernel knows."""
        user = system = 0
        for process in self.tree():
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2].split()
                user, system = user + int(fields[11]), system + int(fields[12])
        return user * TICK_SECONDS, system * TICK_SECONDS

    def memory_peak_bytes(self):
        """VmHWM, summed over the tree; huge pages included."""
        total = 0
        for process in self.tree():
            with contextlib.suppress(OSError):
                for line in Path(f"/proc/{process}/status").read_text().splitlines():
                    if line.startswith(("VmHWM:", "HugetlbPages:")):
                        total += int(line.split()[1]) * 1024
        return total

    def settle(self):
        """Waits, not for long, until earlier requests have left nothing to do."""
        end = time.monotonic() + REST_SECONDS_MAX
        before = self.cpu_seconds()
        while time.monotonic() < end:
            time.sleep(REST_SECONDS)
            now = self.cpu_seconds()
            if now - before < REST_SECONDS * REST_SHARE:
                return
            before = now

    def wait_for(self, address, path="/", seconds=START_SECONDS_MAX):
        """Waits until it answers HTTP, whatever the answer."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.child.poll() is not None:
                raise Failure(f"it ended with {self.child.returncode} at its start: {self.last_line()}")
            with contextlib.suppress(OSError, http.client.HTTPException):
                connection = http.client.HTTPConnection(address, timeout=2)
                connection.request("GET", path)
                connection.getresponse().read()
                return
            time.sleep(0.1)
        raise Failure(f"it does not answer on {address} after {seconds} s: {self.last_line()}")

    def last_line(self):
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return lines[-1][-300:] if lines else "(its log is empty)"

    def stop(self):
        """Ends it, in order if it can be."""
        tree = self.tree()
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
            try:
                self.child.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
        # What it left behind.
        for process in tree[1:]:
            with contextlib.suppress(OSError):
                os.kill(process, signal.SIGKILL)


def run(command, cpus=None, seconds=600, environment=None, folder=None):
    """Runs a program to its end; its output. It may use `cpus` only."""
    command = [str(part) for part in command]
    if cpus is not None:
        command = ["taskset", "-c", ",".join(map(str, cpus)), *command]
    try:
        ended = subprocess.run(
            command, env=environment, cwd=folder, stdin=subprocess.DEVNULL, text=True, errors="replace",
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds, check=False,
            preexec_fn=_die_with_parent)
    except subprocess.TimeoutExpired:
        raise Failure(f"{Path(command[0]).name} does not end within {seconds} s") from None
    except OSError as error:
        raise Failure(str(error)) from None
    if ended.returncode != 0:
        lines = ended.stdout.strip().splitlines() or ["(no output)"]
        name = Path(command[3] if cpus is not None else command[0]).name
        raise Failure(f"{name} ended with {ended.returncode}: {lines[-1][-300:]}")
    return ended.stdout


class Sampler(threading.Thread):
    """Reads a process's CPU time again and again, for loads that don't say when their measured part begins."""

    SECONDS = 0.05

    def __init__(self, process):
        super().__init__(daemon=True)
        self.process, self.samples, self.is_over = process, [], threading.Event()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.is_over.set()
        self.join()

    def run(self):
        while True:
            self.samples.append((time.time(), self.process.cpu_seconds()))
            if self.is_over.wait(self.SECONDS):
                self.samples.append((time.time(), self.process.cpu_seconds()))
                return

    def between(self, begin, end):
        """CPU seconds used between two points in time."""
        return self._at(end) - self._at(begin)

    def _at(self, moment):
        for (time_before, before), (time_after, after) in zip(self.samples, self.samples[1:]):
            if moment <= time_after:
                share = max(0, moment - time_before) / max(1e-9, time_after - time_before)
                return before + (after - before) * share
        return self.samples[-1][1]


def _names(folder):
    with contextlib.suppress(OSError):
        return os.listdir(folder)
    return []


_libc = ctypes.CDLL(None)


def _die_with_parent():
    """In the child: nothing outlives a run that was killed (PR_SET_PDEATHSIG)."""
    _libc.prctl(1, signal.SIGKILL)
