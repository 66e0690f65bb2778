"""s5cmd: many files at once, a large one in parts, odd names through pipes."""

import os
import subprocess

import objects
from objects import payload, same

# s5cmd takes ? * [ for patterns, and cleans dots and doubled slashes out of paths itself.
NAMES = [
    "a space",
    "a+plus",
    "a%percent%20sign%2Fand so on",
    "ünï/côdé/日本/🦀",
    "quotes 'single' `back`",
    "less<than>&amp;",
    "hash#tag",
    "punctuation !$(),:;=@^_{|}~-.",
    "n" * 1024,
    "é" * 512,
]


def s5cmd(*arguments, stdin=None):
    command = ["s5cmd", "--retry-count", "0", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, input=stdin).stdout


def main():
    os.environ["S3_ENDPOINT_URL"] = objects.ENDPOINT
    s5cmd("mb", "s3://s5cmd")
    digest = objects.file_of("large", objects.LARGE)
    s5cmd("cp", "--part-size", "16", "--concurrency", "4", "large", "s3://s5cmd/large file")
    s5cmd("cp", "--part-size", "16", "--concurrency", "4", "s3://s5cmd/large file", "large.got")
    same("large", objects.sha256("large.got"), digest)
    for seed, name in enumerate(NAMES):
        s5cmd("pipe", f"s3://s5cmd/{name}", stdin=payload(1000, seed))
        same(f"name {name[:40]!r}", s5cmd("--log", "error", "cat", "--raw", f"s3://s5cmd/{name}"), payload(1000, seed))
    os.makedirs("tree/sub folder")
    names = [f"sub folder/{number:03}+x" for number in range(300)]
    for seed, name in enumerate(names):
        objects.file_of(f"tree/{name}", 100 + seed * 500, seed)
    s5cmd("sync", "tree/", "s3://s5cmd/tree/")
    s5cmd("sync", "s3://s5cmd/tree/*", "tree.got/")
    for name in names:
        have, expected = objects.sha256(f"tree.got/{name}"), objects.sha256(f"tree/{name}")
        if have != expected:
            same(f"synced {name}", have, expected)
    print(f"ok: {len(names)} files synced")
    listed = s5cmd("ls", "s3://s5cmd/tree/*").decode().splitlines()
    same("listing", len(listed), len(names))
    s5cmd("rm", "s3://s5cmd/*")
    s5cmd("rb", "s3://s5cmd")


main()
