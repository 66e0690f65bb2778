"""boto3: SSE-S3, SSE-KMS and SSE-C, whole, in parts, in ranges and in copies; wrong keys; default encryption."""

import hashlib
import os
import sys

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from objects import payload, same

MARK = b"a sentence that must not lie open on any drive; "
KEY, OTHER = "1" * 32, "2" * 32
SEGMENT = 65_520


def marked(size, seed=0):
    """Payload of which every part of some length holds the mark."""
    body = bytearray(payload(size, seed))
    for start in range(0, size - len(MARK), 1000):
        body[start : start + len(MARK)] = MARK
    return bytes(body)


def customer(key, prefix=""):
    return {f"{prefix}SSECustomerAlgorithm": "AES256", f"{prefix}SSECustomerKey": key}


SCHEMES = {
    "SSE-S3": ({"ServerSideEncryption": "AES256"}, {}, {}),
    "SSE-KMS": ({"ServerSideEncryption": "aws:kms"}, {}, {}),
    "SSE-C": (customer(KEY), customer(KEY), customer(KEY, "CopySource")),
}


def refused(label, code, call, **arguments):
    try:
        call(Bucket="sse", **arguments)
    except ClientError as error:
        same(label, error.response["Error"]["Code"], code)
    else:
        raise AssertionError(f"{label}: was not refused")


def whole(s3, label, write, read):
    for size in [0, 1, 4096, SEGMENT, SEGMENT + 1, 3_000_000]:
        body = marked(size)
        put = s3.put_object(Bucket="sse", Key="whole", Body=body, **write)
        got = s3.get_object(Bucket="sse", Key="whole", **read)
        same(f"{label}: {size} bytes", got["Body"].read(), body)
        same(f"{label}: ETag", got["ETag"], put["ETag"])
        is_md5 = put["ETag"].strip('"') == hashlib.md5(body).hexdigest()
        same(f"{label}: whether the ETag is the MD5", is_md5, label == "SSE-S3")
        for answer in [put, got, s3.head_object(Bucket="sse", Key="whole", **read)]:
            same(f"{label}: is said", answer.get("ServerSideEncryption"), write.get("ServerSideEncryption"))
            same(f"{label}: is said", answer.get("SSECustomerAlgorithm"), write.get("SSECustomerAlgorithm"))
    for first, last in [(0, 0), (SEGMENT - 1, SEGMENT), (SEGMENT, 4 * SEGMENT - 1), (262_079, 2_999_999)]:
        got = s3.get_object(Bucket="sse", Key="whole", Range=f"bytes={first}-{last}", **read)
        same(f"{label}: range {first}-{last}", got["Body"].read(), body[first : last + 1])


def parts(s3, label, write, read):
    sizes = [5 << 20, (5 << 20) + SEGMENT + 1, 77]
    bodies = [marked(size, seed) for seed, size in enumerate(sizes)]
    upload = s3.create_multipart_upload(Bucket="sse", Key=f"{label} parts", **write)
    names = {"Bucket": "sse", "Key": f"{label} parts", "UploadId": upload["UploadId"]}
    done = []
    for number, body in enumerate(bodies, 1):
        s3.upload_part(**names, PartNumber=number, Body=b"replaced", **read)
        put = s3.upload_part(**names, PartNumber=number, Body=body, **read)
        done.append({"PartNumber": number, "ETag": put["ETag"]})
    s3.complete_multipart_upload(**names, MultipartUpload={"Parts": done})
    got = s3.get_object(Bucket="sse", Key=f"{label} parts", **read)
    same(f"{label}: parts joined", got["Body"].read(), b"".join(bodies))
    got = s3.get_object(Bucket="sse", Key=f"{label} parts", PartNumber=2, **read)
    same(f"{label}: second part", got["Body"].read(), bodies[1])


def copies(s3):
    for source, (_, _, opens) in SCHEMES.items():
        expected = s3.get_object(Bucket="sse", Key=f"{source} parts", **SCHEMES[source][1])["Body"].read()
        for target, (write, read, _) in SCHEMES.items():
            names = {"Bucket": "sse", "Key": "copy"}
            s3.copy_object(**names, CopySource={"Bucket": "sse", "Key": f"{source} parts"}, **opens, **write)
            same(f"{source} to {target}", s3.get_object(**names, **read)["Body"].read(), expected)


def wrong_keys(s3):
    s3.put_object(Bucket="sse", Key="customer", Body=MARK, **customer(KEY))
    refused("no key", "InvalidRequest", s3.get_object, Key="customer")
    refused("another key", "AccessDenied", s3.get_object, Key="customer", **customer(OTHER))
    digest = {"SSECustomerKeyMD5": "AAAAAAAAAAAAAAAAAAAAAA=="}
    refused("wrong digest", "InvalidArgument", s3.put_object, Key="x", Body=b"", **customer(KEY), **digest)
    named = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "nobody"}
    refused("unknown key", "KMS.NotFoundException", s3.put_object, Key="x", Body=b"", **named)


def default(s3):
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    s3.create_bucket(Bucket="sse-default")
    s3.put_bucket_encryption(Bucket="sse-default", ServerSideEncryptionConfiguration={"Rules": [rule]})
    put = s3.put_object(Bucket="sse-default", Key="k", Body=marked(200_000))
    same("default encryption", put["ServerSideEncryption"], "AES256")
    same("default encryption: content", s3.get_object(Bucket="sse-default", Key="k")["Body"].read(), marked(200_000))


def runs(path):
    """A file in pieces that overlap by the length of the mark."""
    end = b""
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            yield end + piece
            end = piece[-len(MARK) :]


def nothing_lies_open(folder):
    files = 0
    for path, _, names in os.walk(folder):
        for name in names:
            files += 1
            same(f"{name}: plain text in it", any(MARK in run for run in runs(os.path.join(path, name))), False)
    same("files were searched", files > 2, True)


def damage(folder):
    """Flips a bit in every 4 KiB of the files that hold large payload."""
    for path, _, names in os.walk(folder):
        for name in [name for name in names if name.startswith("data")]:
            with open(os.path.join(path, name), "r+b") as file:
                size = os.path.getsize(file.name)
                for offset in range(4096 + 100, size, 4096):
                    byte = os.pread(file.fileno(), 1, offset)
                    if byte and byte != b"\0":
                        os.pwrite(file.fileno(), bytes([byte[0] ^ 1]), offset)


def main():
    folder = sys.argv[1]
    config = Config(retries={"total_max_attempts": 1})
    s3 = boto3.client("s3", config=config)
    s3.create_bucket(Bucket="sse")
    for label, (write, read, _) in SCHEMES.items():
        whole(s3, label, write, read)
        parts(s3, label, write, read)
    copies(s3)
    wrong_keys(s3)
    default(s3)
    nothing_lies_open(folder)
    s3.put_object(Bucket="sse", Key="damaged", Body=marked(300_000), ServerSideEncryption="AES256")
    damage(folder)
    refused("damaged", "InternalError", s3.get_object, Key="damaged")
    print("encryption: as it should be")


main()
