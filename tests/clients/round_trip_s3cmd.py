"""s3cmd: small, large and oddly named objects; the argument is the signature version, 2 or 4."""

import os
import subprocess
import sys

import objects
from objects import payload, same

# s3cmd itself reads a trailing slash as a folder, folds dots and doubled slashes into paths, and prints
# listings line by line.
NAMES = [*objects.FILE_NAMES, "double//slash", "dir/./dot", "n" * 1024, "é" * 512]


def s3cmd(*arguments):
    command = ["s3cmd", "--config=config", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def main():
    version_2 = sys.argv[1] == "2"
    with open("config", "w") as config:
        config.write(
            f"[default]\naccess_key = {objects.KEY}\nsecret_key = {objects.SECRET}\n"
            f"host_base = {objects.HOST}\nhost_bucket = {objects.HOST}\nuse_https = {objects.IS_TLS}\n"
            f"ca_certs_file = {os.environ.get('SSL_CERT_FILE', '')}\n"
            f"signature_v2 = {version_2}\nbucket_location = us-east-1\nmax_retries = 1\n"
        )
    s3cmd("mb", "s3://s3cmd")
    same("buckets", s3cmd("ls").split()[-1], "s3://s3cmd")
    digest = objects.file_of("large", objects.LARGE)
    s3cmd("put", "--no-progress", "large", "s3://s3cmd/large file")
    s3cmd("get", "--no-progress", "s3://s3cmd/large file", "large.got")
    same("large", objects.sha256("large.got"), digest)
    for seed, name in enumerate(NAMES):
        with open("body", "wb") as body:
            body.write(payload(1000, seed))
        s3cmd("put", "--no-progress", "body", f"s3://s3cmd/{name}")
        s3cmd("get", "--no-progress", "--force", f"s3://s3cmd/{name}", "body.got")
        same(f"name {name[:40]!r}", objects.sha256("body.got"), objects.sha256("body"))
    listed = [line.split("s3://s3cmd/", 1)[1] for line in s3cmd("ls", "--recursive", "s3://s3cmd").splitlines()]
    same("listing", sorted(listed), sorted([*NAMES, "large file"]))

    os.makedirs("tree/sub folder")
    for seed, name in enumerate(["one", "sub folder/two+plus", "sub folder/日本"]):
        objects.file_of(f"tree/{name}", 1000 + seed * 70_000, seed)
    s3cmd("sync", "--no-progress", "tree/", "s3://s3cmd/tree/")
    s3cmd("sync", "--no-progress", "s3://s3cmd/tree/", "tree.got/")
    for name in ["one", "sub folder/two+plus", "sub folder/日本"]:
        same(f"synced {name}", objects.sha256(f"tree.got/{name}"), objects.sha256(f"tree/{name}"))
    same("a second sync has nothing to do", s3cmd("sync", "--no-progress", "tree/", "s3://s3cmd/tree/"), "")
    s3cmd("cp", "s3://s3cmd/large file", "s3://s3cmd/large copy")
    same("info", "s3://s3cmd/large copy" in s3cmd("info", "s3://s3cmd/large copy"), True)
    s3cmd("del", "--recursive", "--force", "s3://s3cmd")
    s3cmd("rb", "s3://s3cmd")
    same("no buckets", s3cmd("ls"), "")


main()
