"""mc: copies of trees, large files and streams, listings, versions, tags, presigned URLs, and what it administers."""

import json
import os
import subprocess
import urllib.request

import objects
from objects import payload, same

NAMES = objects.FILE_NAMES


def run(*arguments, stdin=None):
    command = ["mc", "--config-dir", "mc", "--json", *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, input=stdin)


def mc(*arguments, stdin=None):
    """Gives the objects of JSON that a command prints; some print none."""
    done = run(*arguments, stdin=stdin)
    if done.returncode != 0:
        same(f"mc {' '.join(arguments)}", done.stdout + done.stderr, b"success")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith(b"{")]


def cat(target):
    return subprocess.run(["mc", "--config-dir", "mc", "cat", target], check=True, stdout=subprocess.PIPE).stdout


def trees():
    os.makedirs("tree")
    for seed, name in enumerate(NAMES):
        os.makedirs(os.path.dirname(f"tree/{name}"), exist_ok=True)
        objects.file_of(f"tree/{name}", 1000 + seed * 30_000, seed)
    objects.file_of("tree/large", objects.LARGE)
    # mc takes files for newer than objects of the same second, of which S3 tells no fractions.
    for name in [*NAMES, "large"]:
        os.utime(f"tree/{name}", (10**9, 10**9))
    mc("mirror", "tree", "node/mc-box/tree")
    same("a second mirror has nothing to do", mc("diff", "tree", "node/mc-box/tree"), [])
    mc("mirror", "node/mc-box/tree", "tree.got")
    for name in [*NAMES, "large"]:
        same(f"name {name[:40]!r}", objects.sha256(f"tree.got/{name}"), objects.sha256(f"tree/{name}"))
    listed = mc("ls", "--recursive", "node/mc-box/tree")
    same("listing", sorted(entry["key"] for entry in listed), sorted([*NAMES, "large"]))
    same("usage", mc("du", "node/mc-box")[0]["objects"], len(NAMES) + 1)
    mc("cp", "node/mc-box/tree/large", "node/mc-box/copied")
    mc("get", "node/mc-box/copied", "copied.got")
    same("copied", objects.sha256("copied.got"), objects.sha256("tree/large"))


def streams():
    mc("pipe", "node/mc-box/stream", stdin=payload(3_000_000, 7))
    same("stream", cat("node/mc-box/stream"), payload(3_000_000, 7))
    same("head", mc("stat", "node/mc-box/stream")[0]["size"], 3_000_000)
    url = mc("share", "download", "node/mc-box/stream")[0]["share"]
    with urllib.request.urlopen(url) as answer:
        same("shared", answer.read(), payload(3_000_000, 7))
    for checksum in ["MD5", "CRC32", "CRC32C", "SHA1", "SHA256", "CRC64NVME"]:
        objects.file_of("file", 100_000)
        mc("put", "--checksum", checksum, "file", f"node/mc-box/{checksum}")
        same(checksum, cat(f"node/mc-box/{checksum}"), payload(100_000))


def versions():
    mc("mb", "--with-lock", "node/mc-locked")
    for seed in [1, 2]:
        mc("pipe", "node/mc-locked/k", stdin=payload(1000, seed))
    mc("tag", "set", "node/mc-locked/k", "colour=blue&size=small")
    same("tags", mc("tag", "list", "node/mc-locked/k")[0]["tagset"], {"colour": "blue", "size": "small"})
    mc("legalhold", "set", "node/mc-locked/k")
    mc("rm", "node/mc-locked/k")
    same("versions", len(mc("ls", "--versions", "node/mc-locked")), 3)
    mc("undo", "node/mc-locked/k", "--force")
    same("undone", cat("node/mc-locked/k"), payload(1000, 2))
    mc("legalhold", "clear", "node/mc-locked/k")
    mc("anonymous", "set", "private", "node/mc-locked")
    mc("rb", "--force", "node/mc-locked")


def administration():
    """What the node does not do is said, with what to use instead, wherever mc is pointed at."""
    mc("alias", "set", "admin", os.environ["ADMIN_URL"], objects.KEY, objects.SECRET, "--api", "s3v4", "--path", "on")
    for alias in ["node", "admin"]:
        for arguments in [
            ("quota", "set", f"{alias}/mc-box", "--size", "1GiB"),
            ("quota", "info", f"{alias}/mc-box"),
            ("quota", "clear", f"{alias}/mc-box"),
            ("admin", "info", alias),
            ("admin", "user", "add", alias, "somebody", "somebodys-secret"),
        ]:
            done = run(*arguments)
            # Not all of them end with a status that says so.
            same(f"{arguments} says why", "The command ringcask administers this node" in done.stdout.decode(), True)


def main():
    mc("alias", "set", "node", objects.ENDPOINT, objects.KEY, objects.SECRET)
    mc("ready", "node")
    mc("mb", "node/mc-box")
    trees()
    streams()
    versions()
    administration()
    mc("rb", "--force", "node/mc-box")
    same("buckets", mc("ls", "node"), [])


main()
