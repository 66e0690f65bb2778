"""boto3: versions, delete markers, tags, locks and attributes of versions, with good and bad input."""

import datetime

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from objects import same

UTC = datetime.timezone.utc
BUCKET = "versions"
LOCKED = "locked"
NEVER_THERE = "00000000000000ff"


def refused(label, code, status, call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        answer = (error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"])
        same(label, answer, (code, status))
        return error.response
    raise SystemExit(f"{label}: carried out")


def versions(s3):
    name = {"Bucket": BUCKET, "Key": "a key"}
    ids = []
    for body in (b"one", b"two", b"three"):
        ids.append(s3.put_object(Body=body, **name)["VersionId"])
    same("ids differ", len(set(ids)), 3)
    same("current", s3.get_object(**name)["Body"].read(), b"three")
    for version, body in zip(ids, (b"one", b"two", b"three")):
        got = s3.get_object(VersionId=version, **name)
        same("by id", (got["Body"].read(), got["VersionId"]), (body, version))
        attributes = s3.get_object_attributes(VersionId=version, ObjectAttributes=["ETag", "ObjectSize"], **name)
        same("attributes", (attributes["ObjectSize"], attributes["VersionId"]), (len(body), version))
    listed = s3.list_object_versions(Bucket=BUCKET)["Versions"]
    same("newest first", [entry["VersionId"] for entry in listed], ids[::-1])
    same("latest", [entry["IsLatest"] for entry in listed], [True, False, False])

    marker = s3.delete_object(**name)
    same("a marker is made", marker["DeleteMarker"], True)
    refused("behind the marker", "NoSuchKey", 404, s3.get_object, **name)
    response = refused("the marker", "405", 405, s3.head_object, VersionId=marker["VersionId"], **name)
    headers = response["ResponseMetadata"]["HTTPHeaders"]
    same("the marker's headers", (headers["x-amz-delete-marker"], headers["allow"]), ("true", "DELETE"))
    page = s3.list_object_versions(Bucket=BUCKET, MaxKeys=2)
    same("the marker is listed", page["DeleteMarkers"][0]["VersionId"], marker["VersionId"])
    pages = s3.get_paginator("list_object_versions").paginate(Bucket=BUCKET, PaginationConfig={"PageSize": 2})
    pages = list(pages)
    same("pages", [len(page.get("Versions", []) + page.get("DeleteMarkers", [])) for page in pages], [2, 2])

    source = {**name, "VersionId": ids[0]}
    copied = s3.copy_object(CopySource=source, **name)
    same("copied from", copied["CopySourceVersionId"], ids[0])
    same("restored", s3.get_object(**name)["Body"].read(), b"one")
    refused("no such version", "NoSuchVersion", 404, s3.get_object, VersionId=NEVER_THERE, **name)
    refused("no version id", "InvalidArgument", 400, s3.get_object, VersionId="no id", **name)

    upload = s3.create_multipart_upload(**name)["UploadId"]
    part = s3.upload_part(UploadId=upload, PartNumber=1, Body=b"part", **name)
    parts = {"Parts": [{"ETag": part["ETag"], "PartNumber": 1}]}
    made = s3.complete_multipart_upload(UploadId=upload, MultipartUpload=parts, **name)
    same("a multipart version", s3.head_object(**name)["VersionId"], made["VersionId"])

    everything = s3.list_object_versions(Bucket=BUCKET)
    entries = everything["Versions"] + everything["DeleteMarkers"]
    order = {"Objects": [{"Key": entry["Key"], "VersionId": entry["VersionId"]} for entry in entries]}
    deleted = s3.delete_objects(Bucket=BUCKET, Delete=order)["Deleted"]
    same("all are deleted", len(deleted), 6)
    same("one was a marker", [entry["VersionId"] for entry in deleted if entry.get("DeleteMarker")], [marker["VersionId"]])
    same("nothing is left", s3.list_object_versions(Bucket=BUCKET).get("Versions"), None)


def suspended(s3):
    name = {"Bucket": BUCKET, "Key": "suspended"}
    numbered = s3.put_object(Body=b"numbered", **name)["VersionId"]
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Suspended"})
    same("no id", s3.put_object(Body=b"null", **name).get("VersionId"), None)
    same("null", s3.get_object(VersionId="null", **name)["Body"].read(), b"null")
    marker = s3.delete_object(**name)
    same("a null marker", (marker["DeleteMarker"], marker["VersionId"]), (True, "null"))
    s3.delete_object(VersionId="null", **name)
    same("what was before", s3.get_object(**name)["VersionId"], numbered)
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})


def tags(s3):
    name = {"Bucket": BUCKET, "Key": "tagged"}
    first = s3.put_object(Body=b"one", Tagging="b=2&a=1%201", **name)["VersionId"]
    second = s3.put_object(Body=b"two", **name)["VersionId"]
    expected = [{"Key": "a", "Value": "1 1"}, {"Key": "b", "Value": "2"}]
    same("of the header", s3.get_object_tagging(VersionId=first, **name)["TagSet"], expected)
    same("none", s3.get_object_tagging(**name)["TagSet"], [])
    some = [{"Key": f"k{index}", "Value": "ä" * 256} for index in range(10)]
    put = s3.put_object_tagging(Tagging={"TagSet": some}, **name)
    same("tagged", put["VersionId"], second)
    same("ten", s3.get_object_tagging(**name)["TagSet"], some)
    same("counted", s3.get_object(**name)["TagCount"], 10)
    many = {"TagSet": some + [{"Key": "k10", "Value": ""}]}
    refused("eleven", "InvalidTag", 400, s3.put_object_tagging, Tagging=many, **name)
    twice = {"TagSet": [some[0], some[0]]}
    refused("twice", "InvalidTag", 400, s3.put_object_tagging, Tagging=twice, **name)
    odd = {"TagSet": [{"Key": "a{", "Value": ""}]}
    refused("odd", "InvalidTag", 400, s3.put_object_tagging, Tagging=odd, **name)
    refused("eleven in a header", "BadRequest", 400, s3.put_object, Body=b"",
            Tagging="&".join(f"k{index}=v" for index in range(11)), **name)
    copy = {"Bucket": BUCKET, "Key": "tagged copy", "CopySource": {**name, "VersionId": first}}
    s3.copy_object(**copy)
    same("copied", s3.get_object_tagging(Bucket=BUCKET, Key="tagged copy")["TagSet"], expected)
    s3.copy_object(TaggingDirective="REPLACE", Tagging="c=3", **copy)
    replaced = s3.get_object_tagging(Bucket=BUCKET, Key="tagged copy")["TagSet"]
    same("replaced", replaced, [{"Key": "c", "Value": "3"}])
    removed = s3.delete_object_tagging(VersionId=first, **name)
    same("removed", removed["ResponseMetadata"]["HTTPStatusCode"], 204)
    same("none again", s3.get_object_tagging(VersionId=first, **name)["TagSet"], [])
    refused("of nothing", "NoSuchKey", 404, s3.get_object_tagging, Bucket=BUCKET, Key="nothing")


def locks(s3):
    name = {"Bucket": LOCKED, "Key": "a key"}
    soon = datetime.datetime.now(UTC).replace(microsecond=0) + datetime.timedelta(days=1)
    later = soon + datetime.timedelta(days=1)
    put = s3.put_object(Body=b"x", ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=soon, **name)
    version = {**name, "VersionId": put["VersionId"]}
    head = s3.head_object(**name)
    same("locked", (head["ObjectLockMode"], head["ObjectLockRetainUntilDate"]), ("GOVERNANCE", soon))
    refused("a locked version", "AccessDenied", 403, s3.delete_object, **version)
    answer = s3.delete_objects(Bucket=LOCKED, Delete={"Objects": [version_of(version)]})
    same("a locked version among many", answer["Errors"][0]["Code"], "AccessDenied")

    def retain(mode, until, **arguments):
        return {"Retention": {"Mode": mode, "RetainUntilDate": until}, **arguments, **version}

    s3.put_object_retention(**retain("GOVERNANCE", later))
    same("extended", s3.get_object_retention(**version)["Retention"]["RetainUntilDate"], later)
    refused("shortened", "AccessDenied", 403, s3.put_object_retention, **retain("GOVERNANCE", soon))
    refused("another mode", "AccessDenied", 403, s3.put_object_retention, **retain("COMPLIANCE", later))
    refused("a wrong mode", "MalformedXML", 400, s3.put_object_retention, **retain("governance", later))
    past = datetime.datetime(2020, 1, 1, tzinfo=UTC)
    refused("the past", "InvalidArgument", 400, s3.put_object_retention, **retain("GOVERNANCE", past))
    s3.put_object_retention(**retain("GOVERNANCE", soon, BypassGovernanceRetention=True))
    s3.put_object_legal_hold(LegalHold={"Status": "ON"}, **version)
    same("held", s3.get_object_legal_hold(**version)["LegalHold"], {"Status": "ON"})
    same("held, by its head", s3.head_object(**version)["ObjectLockLegalHoldStatus"], "ON")
    bypass = {"BypassGovernanceRetention": True}
    refused("a held version", "AccessDenied", 403, s3.delete_object, **bypass, **version)
    refused("a wrong hold", "MalformedXML", 400, s3.put_object_legal_hold, LegalHold={"Status": "x"}, **version)
    s3.put_object_legal_hold(LegalHold={"Status": "OFF"}, **version)
    s3.delete_object(**bypass, **version)
    refused("it is gone", "NoSuchVersion", 404, s3.get_object, **version)
    only_mode = {"ObjectLockMode": "GOVERNANCE", "Body": b"", **name}
    refused("a mode alone", "InvalidArgument", 400, s3.put_object, **only_mode)
    unlockable = {"ObjectLockLegalHoldStatus": "ON", "Body": b"", "Bucket": BUCKET, "Key": "k"}
    refused("a bucket without locks", "InvalidRequest", 400, s3.put_object, **unlockable)
    s3.put_object(Bucket=LOCKED, Key="free", Body=b"")
    free = {"Bucket": LOCKED, "Key": "free"}
    refused("no retention", "NoSuchObjectLockConfiguration", 404, s3.get_object_retention, **free)


def version_of(version):
    return {"Key": version["Key"], "VersionId": version["VersionId"]}


def main():
    s3 = boto3.client("s3", config=Config(retries={"total_max_attempts": 1}))
    s3.create_bucket(Bucket=BUCKET)
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    versions(s3)
    suspended(s3)
    tags(s3)
    s3.create_bucket(Bucket=LOCKED, ObjectLockEnabledForBucket=True)
    locks(s3)


main()
