"""The s3-bench family, as its users run it: s3bench of igneous-systems, and s3-benchmark of wasabi-tech.

It is a check that they work, and that what they print agrees with what the others measure. s3-benchmark signs its
requests for objects as S3 did before 2014 (version 2), which not every server takes.
"""

import re

from loads import Failure, failure, requests, sample
from machine import run
from peers import ACCESS_KEY_ID, REGION, SECRET

SIZE_BYTES = 1 << 20
CLIENTS = 8


def s3bench(peer, program, cpus, samples, folder):
    """`samples` objects of 1 MiB put and got, in a bucket that is there."""
    names = {"Write": "s3bench-put-1MiB", "Read": "s3bench-get-1MiB"}
    command = [program, f"-endpoint=http://{peer.address}", f"-region={REGION}", f"-bucket={requests.BUCKET}"]
    command += [f"-accessKey={ACCESS_KEY_ID}", f"-accessSecret={SECRET}", f"-objectSize={SIZE_BYTES}"]
    command += [f"-numClients={CLIENTS}", f"-numSamples={samples}", "-objectNamePrefix=s3bench/"]
    try:
        text = run(command, cpus, 600, folder=folder)
    except Failure as error:
        return [failure(name, "request", error) for name in names.values()]
    found = []
    for kind, name in names.items():
        part = text.rpartition(f"Results Summary for {kind} Operation(s)")[2]

        def number(pattern):
            return float((re.search(pattern, part) or ["", "nan"])[1])

        if number(r"Number of Errors: *([\d.]+)") != 0:
            found.append(failure(name, "request", "operations failed"))
            continue
        latency = {"p50": number(r"50th %ile: *([\d.]+)") * 1e6, "p99": number(r"99th %ile: *([\d.]+)") * 1e6}
        # Writes and reads follow each other without a mark in time: the server's CPU time can't be told apart.
        found.append(sample(
            name, "request", operations=samples, payload_bytes=samples * SIZE_BYTES,
            seconds=number(r"Total Duration: *([\d.]+)"), cpu_seconds=None, latency_us=latency))
    return found


def s3_benchmark(peer, program, cpus, seconds, folder):
    """Objects of 1 MiB put, got and deleted for some seconds each."""
    names = {"PUT": "s3-benchmark-put-1MiB", "GET": "s3-benchmark-get-1MiB"}
    command = [program, "-u", f"http://{peer.address}", "-r", REGION, "-b", "s3-benchmark", "-a", ACCESS_KEY_ID]
    command += ["-s", SECRET, "-d", str(seconds), "-t", str(CLIENTS), "-l", "1", "-z", "1M"]
    try:
        text = run(command, cpus, 600, folder=folder)
    except Failure as error:
        return [failure(name, "request", error) for name in names.values()]
    found = []
    for kind, name in names.items():
        line = re.search(
            rf"{kind} time ([\d.]+) secs, objects = (\d+), speed = ([\d.]+)([KMG]?)B/sec, ([\d.]+) operations", text)
        if not line or int(line[2]) == 0:
            refused = re.search(r"<Code>(\w+)</Code>", text)
            found.append(failure(name, "request", f"operations failed: {refused[1] if refused else 'no results'}"))
            continue
        count = int(line[2])
        found.append(sample(
            name, "request", operations=count, payload_bytes=count * SIZE_BYTES, seconds=float(line[1]),
            cpu_seconds=None))
    return found
