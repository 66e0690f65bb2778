"""The load generator of `benches/cost/`: requests signed beforehand, every answer checked, a digest of the work.

It takes a fraction of what warp takes of the client's CPU, so that the server is what limits. It tells in lines of
JSON where it is and waits between them, so that exactly the measured requests are counted.
"""

import json
import os
import subprocess
import threading

from loads import Failure, failure, sample
from machine import run
from peers import ACCESS_KEY_ID, REGION, SECRET

# Of `cargo bench --bench cost -- --list`: those that mean something on every server.
WORKLOADS = [
    "get-4k-signed-32", "get-4k-presigned-1", "head-4k-signed-32", "put-4k-1", "put-4k-32", "delete-4k-32",
    "list-1000-of-10000-1", "get-8m-8", "put-8m-8", "put-8m-32", "put-8m-signed-chunks-32",
]
QUICK = [
    "get-4k-signed-32", "put-4k-32", "delete-4k-32", "list-1000-of-10000-1", "get-8m-8", "put-8m-8",
    "put-8m-signed-chunks-32",
]
# Of a server of files.
OF_FILES = ("get-4k-signed-32", "get-4k-presigned-1", "head-4k-signed-32", "get-8m-8")

# The workload that shows whether writes are synced: objects put one after the other.
ONE_BY_ONE = "put-4k-1"

# The bucket that the first load on a server makes; others may use it.
BUCKET = "cost"

# Between two lines that it tells.
PATIENCE_SECONDS = 600


def build(repository):
    """Compiles the load generator and the node with it; the paths of both."""
    command = ["cargo", "bench", "--bench", "cost", "--no-run", "--message-format", "json", "-q"]
    command += ["--manifest-path", repository / "Cargo.toml"]
    found = {}
    for line in run(command, seconds=2 * 3600).splitlines():
        message = json.loads(line) if line.startswith("{") else {}
        if message.get("reason") == "compiler-artifact" and message.get("executable"):
            found[message["target"]["name"]] = message["executable"]
    if not {"cost", "ringcask"} <= found.keys():
        raise Failure("cargo did not build the load generator")
    return found["cost"], found["ringcask"]


class Cpu:
    """Watches what a server uses of its CPU while requests are measured."""

    def __init__(self, process):
        self.process, self.start = process, 0.0

    def begin(self):
        self.process.settle()
        self.start = self.process.cpu_seconds()

    def end(self, event):
        return sample(
            event["workload"], event["unit"], operations=event["requests"], payload_bytes=event["bytes"],
            seconds=event["seconds"], cpu_seconds=self.process.cpu_seconds() - self.start,
            latency_us=event["latency_us"])


def measure(peer, program, cpus, workloads, scale, turn, is_stocked, watch=None):
    """Runs workloads and returns a sample of each. `watch` is told when what is measured begins and ends, and says
    what came of it; what the load reads is put first, unless it is there from an earlier turn."""
    if peer.is_file_server:
        workloads = [name for name in workloads if name in OF_FILES or name == ONE_BY_ONE and watch]
    command = ["taskset", "-c", ",".join(map(str, cpus)), program, "--bench", "--endpoint", peer.address]
    command += ["--region", REGION, "--bucket", BUCKET, "--stepped", "--scale", str(scale), "--round", str(turn)]
    command += ["--stocked"] * is_stocked + ["--file-server"] * peer.is_file_server
    command += ["--etags-unchecked"] * (not peer.etags_are_md5)
    # No workload has this in its name: what the load reads is put all the same.
    command += workloads or ["nothing"]
    environment = dict(os.environ, AWS_ACCESS_KEY_ID=ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY=SECRET)
    samples = {}
    with subprocess.Popen(
        command, env=environment, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as child:
        try:
            _drive(child, watch or Cpu(peer.process), samples)
        finally:
            child.kill()
        errors = child.stderr.read().strip()
    for name in workloads:
        if name not in samples:
            samples[name] = failure(name, "request", errors or "the load ended early")
    return list(samples.values())


def _drive(child, watch, samples):
    """Answers each line that the load tells."""
    while line := _line(child):
        event = json.loads(line)
        name = event.get("workload")
        if event["event"] == "ready":
            watch.begin()
            _go_on(child)
        elif event["event"] == "measured":
            samples[name] = watch.end(event)
            _go_on(child)
        elif event["event"] == "checked":
            samples[name]["work"] = event["work"]
        elif event["event"] == "failed":
            samples[name] = failure(name, samples.get(name, {}).get("unit", "request"), event["error"])


def _line(child):
    """The next line; none if the load has ended. It is ended if it says nothing for too long."""
    timer = threading.Timer(PATIENCE_SECONDS, child.kill)
    timer.start()
    try:
        return child.stdout.readline()
    finally:
        timer.cancel()


def _go_on(child):
    child.stdin.write("\n")
    child.stdin.flush()
