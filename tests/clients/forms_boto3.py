"""boto3's presigned forms, posted as a browser posts them, and what a policy does not allow."""

import http.client
import re

import boto3
from botocore.config import Config

from objects import HOST, payload, same

BOUNDARY = "----WebKitFormBoundaryAbCdEf0123456789"


def client(version):
    return boto3.client("s3", config=Config(signature_version=version, retries={"total_max_attempts": 1}))


def post(form, file, extra=None, name="a file.bin"):
    """Answers status, headers and body."""
    parts = []
    for field, value in {**form["fields"], **(extra or {})}.items():
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n'
        parts.append(head.encode() + value.encode() + b"\r\n")
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
    parts.append(head.encode() + b"Content-Type: application/octet-stream\r\n\r\n" + file + b"\r\n")
    body = b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()
    connection = http.client.HTTPConnection(HOST)
    kind = f"multipart/form-data; boundary={BOUNDARY}"
    connection.request("POST", "/forms", body, {"Content-Type": kind})
    answer = connection.getresponse()
    result = answer.status, answer.headers, answer.read().decode()
    connection.close()
    return result


def refusal(answer):
    status, _, body = answer
    return status, re.search("<Code>(.*)</Code>", body).group(1)


def forms(s3, label):
    for size in [0, 1, 1_000, 65_536, 65_537, 3_000_000]:
        body = payload(size, 7)
        form = s3.generate_presigned_post("forms", f"{label}/${{filename}}", ExpiresIn=60)
        status, headers, _ = post(form, body)
        same(f"{label}: {size} bytes", status, 204)
        got = s3.get_object(Bucket="forms", Key=f"{label}/a file.bin")
        same(f"{label}: content of {size}", got["Body"].read(), body)
        same(f"{label}: ETag", headers["ETag"], got["ETag"])

    fields = {"success_action_status": "201", "Content-Type": "text/x", "x-amz-meta-colour": "blue"}
    conditions = [{name: value} for name, value in fields.items()] + [["content-length-range", 2, 10]]
    form = s3.generate_presigned_post("forms", "described", fields, conditions, 60)
    status, _, document = post(form, b"12345")
    same(f"{label}: created", (status, "<Key>described</Key>" in document), (201, True))
    head = s3.head_object(Bucket="forms", Key="described")
    same(f"{label}: metadata", (head["ContentType"], head["Metadata"]), ("text/x", {"colour": "blue"}))
    same(f"{label}: too much", refusal(post(form, b"x" * 11)), (400, "EntityTooLarge"))
    same(f"{label}: too little", refusal(post(form, b"x")), (400, "EntityTooSmall"))
    same(f"{label}: another type", refusal(post(form, b"123", {"Content-Type": "a/b"})), (403, "AccessDenied"))
    same(f"{label}: a field too many", refusal(post(form, b"123", {"acl": "private"})), (403, "AccessDenied"))
    expired = s3.generate_presigned_post("forms", "described", ExpiresIn=-60)
    same(f"{label}: expired", refusal(post(expired, b"123")), (403, "AccessDenied"))
    forged = {name: "0" * 64 for name in ["x-amz-signature", "signature"] if name in form["fields"]}
    same(f"{label}: forged", refusal(post(form, b"123", forged)), (403, "SignatureDoesNotMatch"))
    same(f"{label}: unchanged", s3.get_object(Bucket="forms", Key="described")["Body"].read(), b"12345")


def main():
    client("s3v4").create_bucket(Bucket="forms")
    forms(client("s3v4"), "version 4")
    forms(client("s3"), "version 2")


main()
