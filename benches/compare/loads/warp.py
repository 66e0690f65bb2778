"""warp, MinIO's benchmark: what clients written in Go do, from signatures to multipart uploads.

It takes most of a core itself, so its small requests say more about throughput and latency of a whole machine than
about a server's cost; `requests.py` is for that. It records every operation; the server's CPU time is taken from
samples between the first and the last operation that is measured, so that preparing and cleaning up don't count.
"""

import csv
import dataclasses
import datetime
import io
import shutil

from loads import Failure, failure, sample
from machine import Sampler, run
from peers import ACCESS_KEY_ID, REGION, SECRET

# Beyond the time that is measured: what is there before must be put, and removed.
RUN_SECONDS_MAX = 600


@dataclasses.dataclass(frozen=True)
class Load:
    """One run of warp. `objects` are there before the measurement, if the command reads."""

    name: str
    command: str
    size: str
    concurrent: int
    objects: int = 0
    options: tuple = ()
    unit: str = "request"


UNSIGNED = ("--disable-sha256-payload",)

# PUT signs each chunk of a body (http) unless it is told not to.
LOADS = [
    Load("warp-put-4KiB", "put", "4KiB", 16),
    Load("warp-put-4KiB-unsigned", "put", "4KiB", 16, options=UNSIGNED),
    Load("warp-put-1MiB", "put", "1MiB", 16, unit="gigabyte"),
    Load("warp-put-1MiB-unsigned", "put", "1MiB", 16, options=UNSIGNED, unit="gigabyte"),
    Load("warp-put-10MiB", "put", "10MiB", 8, unit="gigabyte"),
    Load("warp-put-10MiB-unsigned", "put", "10MiB", 8, options=UNSIGNED, unit="gigabyte"),
    Load("warp-put-64MiB-multipart", "put", "64MiB", 4, unit="gigabyte"),
    Load("warp-put-64MiB-multipart-unsigned", "put", "64MiB", 4, options=UNSIGNED, unit="gigabyte"),
    Load("warp-get-4KiB", "get", "4KiB", 16, 1000),
    Load("warp-get-1MiB", "get", "1MiB", 16, 64, unit="gigabyte"),
    Load("warp-get-10MiB", "get", "10MiB", 8, 32, unit="gigabyte"),
    Load("warp-get-64MiB", "get", "64MiB", 4, 8, unit="gigabyte"),
    Load("warp-mixed-4KiB", "mixed", "4KiB", 16, 1000),
    Load("warp-mixed-1MiB", "mixed", "1MiB", 16, 64),
    Load("warp-mixed-10MiB", "mixed", "10MiB", 8, 32),
    Load("warp-list", "list", "1KiB", 8, 8000),
    Load("warp-stat", "stat", "1KiB", 16, 1000),
    Load("warp-delete", "delete", "1KiB", 8, 12_800),
]
QUICK = [
    "warp-put-4KiB", "warp-put-10MiB", "warp-put-10MiB-unsigned", "warp-put-64MiB-multipart", "warp-get-4KiB",
    "warp-get-10MiB", "warp-mixed-1MiB", "warp-list", "warp-stat", "warp-delete",
]


def measure(peer, program, cpus, loads, seconds, is_quick, folder):
    """Runs loads; their samples."""
    if peer.is_file_server:
        return []
    if not shutil.which("zstd"):
        return [failure(load.name, load.unit, "zstd, which reads warp's records, is missing") for load in loads]
    return [_one(peer, program, cpus, load, seconds, is_quick, folder) for load in loads]


def _one(peer, program, cpus, load, seconds, is_quick, folder):
    records = folder / load.name
    command = [program, load.command, "--host", peer.address, "--region", REGION, "--lookup", "path", "--no-color"]
    command += ["--access-key", ACCESS_KEY_ID, "--secret-key", SECRET, "--full", "--benchdata", records]
    command += ["--duration", f"{seconds}s", "--obj.size", load.size, "--concurrent", str(load.concurrent)]
    command += load.options
    if load.objects:
        # `delete` ends when all objects are deleted, and wants four batches of a hundred for each connection.
        objects = max(load.objects // 4, 2 * load.concurrent) if is_quick else load.objects
        command += ["--objects", str(objects)]
    try:
        peer.process.settle()
        with Sampler(peer.process) as sampler:
            run(command, cpus, RUN_SECONDS_MAX + seconds)
        text = run(["zstd", "-dcq", f"{records}.csv.zst"], seconds=60)
        return _summary(load, text, sampler)
    except Failure as error:
        return failure(load.name, load.unit, error)


def _summary(load, text, sampler):
    """What warp recorded of the operations that were to be measured."""
    lines = (line for line in io.StringIO(text) if not line.startswith("#"))
    rows = list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    main = {"put": {"PUT"}, "mixed": {"GET", "STAT", "DELETE"}}.get(load.command, {load.command.upper()})
    begin = min((row["start"] for row in rows if row["op"] in main), default="")
    rows = [row for row in rows if row["start"] >= begin and (row["op"] in main or load.command == "mixed")]
    errors = [row["error"] for row in rows if row["error"]]
    if not rows or errors:
        raise Failure(f"{len(errors)} of {len(rows)} operations failed: {errors[0]}" if errors else "no operations")
    wanted = int(load.size.removesuffix("MiB").removesuffix("KiB")) * (1 << 20 if "MiB" in load.size else 1 << 10)
    short = [row for row in rows if row["op"] in ("GET", "PUT") and int(row["bytes"]) != wanted]
    if short:
        raise Failure(f"{len(short)} operations moved another number of bytes")
    start, end = _seconds(begin), max(_seconds(row["end"]) for row in rows)
    latencies = sorted(int(row["duration_ns"]) / 1000 for row in rows)
    return sample(
        load.name, load.unit, operations=len(rows), payload_bytes=sum(int(row["bytes"]) for row in rows),
        seconds=end - start, cpu_seconds=sampler.between(start, end),
        latency_us={name: _rank(latencies, share) for name, share in (("p50", 0.5), ("p99", 0.99), ("p999", 0.999))})


def _seconds(text):
    """A time like 2026-01-31T12:00:00.123456789Z, in seconds since 1970."""
    whole, _, fraction = text.removesuffix("Z").partition(".")
    moment = datetime.datetime.fromisoformat(whole).replace(tzinfo=datetime.timezone.utc)
    return moment.timestamp() + float(f"0.{fraction or 0}")


def _rank(ordered, share):
    """The nearest rank."""
    return ordered[max(0, -int(-len(ordered) * share // 1) - 1)]
