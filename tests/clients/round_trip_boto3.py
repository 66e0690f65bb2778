"""boto3: whole and multipart objects, odd names, listings, batched deletes, presigned URLs, checksums."""

import hashlib
import io
import urllib.request

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config

import objects
from objects import payload, same

CHECKSUMS = ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"]
CHECKSUMS += ["SHA512", "XXHASH64", "XXHASH3", "XXHASH128"]


def client(**config):
    return boto3.client("s3", config=Config(retries={"total_max_attempts": 1}, **config))


def whole(s3, label):
    for size in [0, 1, objects.SMALL, objects.INLINE_EDGE, objects.INLINE_EDGE + 1, 3_000_000]:
        body = payload(size)
        put = s3.put_object(Bucket="boto3", Key=f"size {size}", Body=body, Metadata={"colour": "blue"})
        same(f"{label}: ETag of {size}", put["ETag"], f'"{hashlib.md5(body).hexdigest()}"')
        got = s3.get_object(Bucket="boto3", Key=f"size {size}")
        same(f"{label}: {size} bytes", got["Body"].read(), body)
        same(f"{label}: metadata of {size}", got["Metadata"], {"colour": "blue"})


def large(s3):
    digest = objects.file_of("large", objects.LARGE)
    config = TransferConfig(multipart_chunksize=16 << 20, max_concurrency=4)
    s3.upload_file("large", "boto3", "large", Config=config)
    s3.download_file("boto3", "large", "large.got", Config=config)
    same("large: content", objects.sha256("large.got"), digest)
    head = s3.head_object(Bucket="boto3", Key="large")
    same("large: length", head["ContentLength"], objects.LARGE)
    same("large: ETag counts its parts", head["ETag"].strip('"').split("-")[1], "13")
    s3.copy({"Bucket": "boto3", "Key": "large"}, "boto3", "large copied", Config=config)
    s3.download_file("boto3", "large copied", "large.got", Config=config)
    same("large: copied in parts", objects.sha256("large.got"), digest)
    tail = s3.get_object(Bucket="boto3", Key="large", Range="bytes=-1000")["Body"].read()
    with open("large", "rb") as file:
        file.seek(-1000, io.SEEK_END)
        same("large: tail", tail, file.read())


def odd_names(s3):
    names = objects.ODD_NAMES + ["tab\there", "new\nline", "return\r", "control\x01"]
    for seed, name in enumerate(names):
        s3.put_object(Bucket="boto3-odd", Key=name, Body=payload(100, seed))
    for seed, name in enumerate(names):
        same(f"name {name[:40]!r}", s3.get_object(Bucket="boto3-odd", Key=name)["Body"].read(), payload(100, seed))
    expected = sorted(names, key=lambda name: name.encode())
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket="boto3-odd", PaginationConfig={"PageSize": 3})
    same("listing, version 2", [entry["Key"] for page in pages for entry in page["Contents"]], expected)
    pages = s3.get_paginator("list_objects").paginate(Bucket="boto3-odd", PaginationConfig={"PageSize": 3})
    same("listing, version 1", [entry["Key"] for page in pages for entry in page["Contents"]], expected)
    for name in names:
        source = {"Bucket": "boto3-odd", "Key": name}
        s3.copy_object(Bucket="boto3", Key="copied/" + name[:500], CopySource=source)
    # XML 1.0 can't carry this one, neither in the request nor in its answer.
    s3.delete_object(Bucket="boto3-odd", Key="control\x01")
    names.remove("control\x01")
    batch = {"Objects": [{"Key": name} for name in names]}
    deleted = s3.delete_objects(Bucket="boto3-odd", Delete=batch)
    same("batched delete", sorted(entry["Key"] for entry in deleted["Deleted"]), sorted(names))
    same("nothing is left", s3.list_objects_v2(Bucket="boto3-odd")["KeyCount"], 0)


def checksums(s3):
    sent = {}

    def note(request, **_):
        sent.update((name.lower(), text(value)) for name, value in request.headers.items())

    s3.meta.events.register("before-send.s3.PutObject", note)
    for algorithm in CHECKSUMS:
        body = payload(100_000, 3)
        sent.clear()
        put = s3.put_object(Bucket="boto3", Key=algorithm, Body=body, ChecksumAlgorithm=algorithm)
        name = f"x-amz-checksum-{algorithm.lower()}"
        if objects.IS_TLS:
            # A checksum behind the payload, which nothing else vouches for.
            same(f"{algorithm}: payload", sent["x-amz-content-sha256"], "STREAMING-UNSIGNED-PAYLOAD-TRAILER")
            same(f"{algorithm}: trailer", sent["x-amz-trailer"], name)
        else:
            same(f"{algorithm}: header", sent[name], put[f"Checksum{algorithm}"])
        got = s3.get_object(Bucket="boto3", Key=algorithm, ChecksumMode="ENABLED")
        same(f"{algorithm}: content", got["Body"].read(), body)
        same(f"{algorithm}: value", got[f"Checksum{algorithm}"], put[f"Checksum{algorithm}"])


def text(value):
    return value.decode() if isinstance(value, bytes) else value


def appended(s3):
    whole = b""
    for size in [10, 100_000, 0, 1]:
        piece = payload(size, 9)
        put = s3.put_object(Bucket="boto3", Key="appended", Body=piece, WriteOffsetBytes=len(whole))
        whole += piece
        same(f"appended {size}: size", put["Size"], len(whole))
    same("appended: content", s3.get_object(Bucket="boto3", Key="appended")["Body"].read(), whole)
    try:
        s3.put_object(Bucket="boto3", Key="appended", Body=b"x", WriteOffsetBytes=10)
        same("append in the middle", "done", "refused")
    except s3.exceptions.InvalidWriteOffset:
        pass


def presigned(s3, label):
    body = payload(5_000, 4)
    url = s3.generate_presigned_url("put_object", Params={"Bucket": "boto3", "Key": "signed +%/x"})
    request = urllib.request.Request(url, data=body, method="PUT", headers={"Content-Type": ""})
    urllib.request.urlopen(request).close()
    url = s3.generate_presigned_url("get_object", Params={"Bucket": "boto3", "Key": "signed +%/x"})
    with urllib.request.urlopen(url) as answer:
        same(f"presigned, {label}", answer.read(), body)


def main():
    s3 = client()
    s3.create_bucket(Bucket="boto3")
    s3.create_bucket(Bucket="boto3-odd")
    same("buckets", [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]], ["boto3", "boto3-odd"])
    whole(s3, "signed payload")
    whole(client(s3={"payload_signing_enabled": False}), "unsigned payload")
    whole(client(request_checksum_calculation="when_required"), "without checksums")
    whole(client(signature_version="s3"), "signature version 2")
    checksums(s3)
    appended(s3)
    presigned(client(signature_version="s3v4"), "version 4")
    presigned(client(signature_version="s3"), "version 2")
    odd_names(s3)
    large(s3)


main()
