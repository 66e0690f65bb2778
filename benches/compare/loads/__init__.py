"""What is done to each server. A load returns samples: dictionaries with what `sample` lists."""

from machine import Failure


def sample(load, unit, *, operations, payload_bytes, seconds, cpu_seconds, latency_us=None, work=None):
    """One run of one load on one server.

    `unit` is what its cost is divided by: a request or a gigabyte (10^9 bytes). `latency_us` holds p50, p99 and p999;
    `work` is the digest of what was done, if the load makes one.
    """
    return {
        "load": load, "unit": unit, "operations": operations, "bytes": payload_bytes, "seconds": seconds,
        "cpu_seconds": cpu_seconds, "latency_us": latency_us or {}, "work": work,
    }


def failure(load, unit, error):
    """A load that did not run to its end."""
    return {"load": load, "unit": unit, "error": str(error)}


__all__ = ["Failure", "failure", "sample"]
