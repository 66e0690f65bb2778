"""rclone: copies of trees and large files, compared by rclone's own check of sizes, MD5s and bytes."""

import os
import subprocess

import objects
from objects import payload, same

NAMES = [*objects.FILE_NAMES, "back\\slash"]


def rclone(*arguments, stdin=None):
    command = ["rclone", "--config=/dev/null", "--retries=1", "--low-level-retries=1", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, input=stdin).stdout


def main():
    # rclone takes this for a setting of AWS's library, which it cannot follow; it trusts SSL_CERT_FILE.
    os.environ.pop("AWS_CA_BUNDLE", None)
    os.environ.update(
        RCLONE_CONFIG_NODE_TYPE="s3",
        RCLONE_CONFIG_NODE_PROVIDER="Other",
        RCLONE_CONFIG_NODE_ENV_AUTH="true",
        RCLONE_CONFIG_NODE_ENDPOINT=objects.ENDPOINT,
        RCLONE_CONFIG_NODE_FORCE_PATH_STYLE="true",
    )
    rclone("mkdir", "node:rclone")
    os.makedirs("tree")
    for seed, name in enumerate(NAMES):
        os.makedirs(os.path.dirname(f"tree/{name}"), exist_ok=True)
        objects.file_of(f"tree/{name}", 1000 + seed * 30_000, seed)
    digest = objects.file_of("tree/large", objects.LARGE)
    parts = ["--s3-upload-cutoff=50M", "--s3-chunk-size=16M", "--s3-upload-concurrency=4"]
    rclone("copy", *parts, "tree", "node:rclone/tree")
    rclone("check", "--download", "tree", "node:rclone/tree")
    print("ok: every file is the same")
    rclone("copy", "node:rclone/tree", "tree.got")
    same("large", objects.sha256("tree.got/large"), digest)
    for name in NAMES:
        same(f"name {name[:40]!r}", objects.sha256(f"tree.got/{name}"), objects.sha256(f"tree/{name}"))
        have, expected = os.stat(f"tree.got/{name}").st_mtime, os.stat(f"tree/{name}").st_mtime
        same("modification time", round(have, 3), round(expected, 3))
    rclone("rcat", "node:rclone/stream", stdin=payload(3_000_000, 7))
    same("stream", rclone("cat", "node:rclone/stream"), payload(3_000_000, 7))
    rclone("moveto", "node:rclone/tree/large", "node:rclone/moved")
    same("moved", rclone("hashsum", "MD5", "--download", "node:rclone/moved").split()[0].decode(), md5("tree/large"))
    listed = rclone("lsf", "--recursive", "--files-only", "node:rclone/tree").decode()
    same("listing", sorted(listed.splitlines()), sorted(NAMES))
    rclone("purge", "node:rclone")
    same("buckets", rclone("lsd", "node:"), b"")


def md5(path):
    import hashlib

    with open(path, "rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


main()
