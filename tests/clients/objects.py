"""What the round trips put: payloads, made once for each run, and names."""

import hashlib
import os
import random
import sys

SMALL = 1_000
INLINE_EDGE = 65_536
LARGE = 205 * 1024 * 1024 + 12_345

ENDPOINT = os.environ["AWS_ENDPOINT_URL"]
HOST = os.environ["S3_ENDPOINT"]
IS_TLS = ENDPOINT.startswith("https:")
KEY = os.environ["AWS_ACCESS_KEY_ID"]
SECRET = os.environ["AWS_SECRET_ACCESS_KEY"]

# For clients that map keys to paths: doubled slashes and dots alone can't be written through them.
FILE_NAMES = [
    "a space",
    "a+plus",
    "a%percent%20sign%2Fand so on",
    "ünï/côdé/日本/🦀",
    "quotes \"double\" 'single' `back`",
    "less<than>&amp;",
    "query?a=b&c=d",
    "hash#tag",
    "punctuation !$()*,:;=@[]^_{|}~-.",
    "é" * 120,
]

# Each client refuses or rewrites some of these by itself, before the node sees them; its script says which.
ODD_NAMES = [
    *FILE_NAMES,
    "double//slash",
    "/leading slash",
    ".",
    "..",
    "dir/./dot",
    "dir/../dots",
    "../up",
    "trailing slash/",
    "back\\slash",
    "n" * 1024,
    "é" * 512,
]


def payload(size, seed=1):
    """`size` reproducible bytes."""
    return random.Random(seed).randbytes(size)


def file_of(path, size, seed=1):
    """A file of `size` reproducible bytes; gives its SHA-256."""
    digest = hashlib.sha256()
    generator = random.Random(seed)
    with open(path, "wb") as out:
        while size > 0:
            block = generator.randbytes(min(size, 4 << 20))
            size -= len(block)
            digest.update(block)
            out.write(block)
    return digest.hexdigest()


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(4 << 20):
            digest.update(block)
    return digest.hexdigest()


def same(what, have, expected):
    """Ends the script unless both are equal."""
    if have != expected:
        if isinstance(have, bytes) and len(have) + len(expected) > 400:
            have, expected = f"{len(have)} other bytes", f"{len(expected)} bytes"
        sys.exit(f"FAILED: {what}: {have!r} instead of {expected!r}")
    print(f"ok: {what}")


def leave():
    """Ends a script that succeeded, without taking its libraries apart: the threads of pyarrow, or of a client
    beside it, abort the interpreter's exit now and then ("terminate called without an active exception")."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
