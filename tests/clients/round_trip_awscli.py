"""awscli: `s3 cp` and `s3 sync` of small and large files, `s3api` with odd names."""

import json
import os
import subprocess

import objects
from objects import payload, same

os.environ["AWS_MAX_ATTEMPTS"] = "1"
os.environ["AWS_PAGER"] = ""


def aws(*arguments):
    return subprocess.run(["aws", *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout


def main():
    aws("s3", "mb", "s3://awscli")
    digest = objects.file_of("large", objects.LARGE)
    aws("s3", "cp", "--quiet", "large", "s3://awscli/large file")
    aws("s3", "cp", "--quiet", "s3://awscli/large file", "large.got")
    same("large", objects.sha256("large.got"), digest)

    os.makedirs("tree/with space/ünï")
    names = ["one", "with space/two+plus", "with space/ünï/three%20percent", "with space/ünï/日本 'quote'"]
    for seed, name in enumerate(names):
        objects.file_of(f"tree/{name}", 1000 + seed * 70_000, seed)
        # `sync` compares times, and S3's are whole seconds: these files are surely older than their copies.
        os.utime(f"tree/{name}", (1_000_000_000, 1_000_000_000))
    aws("s3", "sync", "--quiet", "tree", "s3://awscli/tree")
    aws("s3", "sync", "--quiet", "s3://awscli/tree", "tree.got")
    for name in names:
        same(f"synced {name}", objects.sha256(f"tree.got/{name}"), objects.sha256(f"tree/{name}"))
    same("a second sync has nothing to do", aws("s3", "sync", "tree", "s3://awscli/tree"), "")

    # Each call starts Python anew: a few names stand for the others, which boto3's round trip has.
    odd = ["a+plus %20 日本", "double//slash", "dir/../dots", "trailing slash/", "é" * 510]
    for seed, name in enumerate(odd):
        with open("body", "wb") as body:
            body.write(payload(100, seed))
        aws("s3api", "put-object", "--bucket", "awscli", "--key", f"odd/{name}", "--body", "body")
        aws("s3api", "get-object", "--bucket", "awscli", "--key", f"odd/{name}", "body.got")
        same(f"name {name[:40]!r}", objects.sha256("body.got"), objects.sha256("body"))
    listed = json.loads(aws("s3api", "list-objects-v2", "--bucket", "awscli", "--prefix", "odd/", "--output", "json"))
    expected = sorted((f"odd/{name}" for name in odd), key=lambda name: name.encode())
    same("listing", [entry["Key"] for entry in listed["Contents"]], expected)
    aws("s3", "rb", "--force", "s3://awscli")
    same("buckets", aws("s3", "ls"), "")


main()
