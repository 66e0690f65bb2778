#!/usr/bin/env python3
"""Copies buckets with their settings and every version of every object from one S3 server to another.

    copy_versions.py --from old --to new [BUCKET …]

`old` and `new` are profiles of ~/.aws/config with an endpoint_url. Versions are copied in their order, with headers,
user metadata, tags, retention and legal holds, and so are delete markers; they get new ids and the time of the copy.
Keys that the target has already are left alone, so a copy that was cut off goes on when it is repeated: remove the
key it was cut off in. Needs boto3 1.35 or later.
"""

import argparse
import concurrent.futures
import itertools
import sys
from datetime import datetime, timezone
from urllib.parse import urlencode
from xml.etree import ElementTree

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

WORKERS = 16
HEADERS = ["CacheControl", "ContentDisposition", "ContentEncoding", "ContentLanguage", "ContentType", "Expires"]
# What is asked of a bucket, what is set of the answer, and under which name.
SETTINGS = [
    ("get_bucket_tagging", "put_bucket_tagging", "Tagging", lambda it: {"TagSet": it["TagSet"]}),
    ("get_bucket_cors", "put_bucket_cors", "CORSConfiguration", lambda it: {"CORSRules": it["CORSRules"]}),
    ("get_bucket_policy", "put_bucket_policy", "Policy", lambda it: it["Policy"]),
    (
        "get_object_lock_configuration",
        "put_object_lock_configuration",
        "ObjectLockConfiguration",
        lambda it: it["ObjectLockConfiguration"],
    ),
    (
        "get_bucket_lifecycle_configuration",
        "put_bucket_lifecycle_configuration",
        "LifecycleConfiguration",
        lambda it: {"Rules": it["Rules"]},
    ),
]


def asked(call, **arguments):
    """The answer, or None if there is no such setting."""
    try:
        return call(**arguments)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
            return None
        raise


def make(source, target, bucket):
    """Makes the bucket as versioned as the source is."""
    is_locked = asked(source.get_object_lock_configuration, Bucket=bucket) is not None
    if asked(target.head_bucket, Bucket=bucket) is None:
        target.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=is_locked)
    versioning = source.get_bucket_versioning(Bucket=bucket).get("Status")
    if versioning and not is_locked:
        target.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    return versioning


def copy_settings(source, target, bucket):
    """Copies what there is of SETTINGS; how many of them the target refused."""
    failed = 0
    for get, put, name, of in SETTINGS:
        found = asked(getattr(source, get), Bucket=bucket)
        if found is None:
            continue
        try:
            getattr(target, put)(Bucket=bucket, **{name: of(found)})
            print(f"{bucket}: {name} is copied")
        except ClientError as error:
            failed += 1
            print(f"{bucket}: {name} is refused: {error}", file=sys.stderr)
    return failed


def keep_order(response_dict, customized_response_dict, **_):
    """Tells versions from delete markers in the order of the answer, which boto3 takes apart into two lists."""
    if response_dict["status_code"] == 200:
        names = [element.tag.rpartition("}")[2] for element in ElementTree.fromstring(response_dict["body"])]
        markers = [name == "DeleteMarker" for name in names if name in ("Version", "DeleteMarker")]
        customized_response_dict["AreMarkers"] = markers


def keys(source, bucket):
    """Each key with what it holds, oldest first."""
    held = []
    for page in source.get_paginator("list_object_versions").paginate(Bucket=bucket):
        versions, markers = iter(page.get("Versions", [])), iter(page.get("DeleteMarkers", []))
        for is_marker in page["AreMarkers"]:
            it = next(markers if is_marker else versions)
            if held and held[-1][0] != it["Key"]:
                yield held[-1][0], [pair for _, *pair in reversed(held)]
                held = []
            held.append((it["Key"], is_marker, it["VersionId"]))
    if held:
        yield held[-1][0], [pair for _, *pair in reversed(held)]


def copy_version(source, target, bucket, key, version):
    found = source.get_object(Bucket=bucket, Key=key, VersionId=version)
    extra = {name: found[name] for name in HEADERS if found.get(name)}
    extra["Metadata"] = found["Metadata"]
    if found.get("TagCount"):
        tags = source.get_object_tagging(Bucket=bucket, Key=key, VersionId=version)["TagSet"]
        extra["Tagging"] = urlencode([(it["Key"], it["Value"]) for it in tags])
    until = found.get("ObjectLockRetainUntilDate")
    if until and until > datetime.now(timezone.utc):
        extra["ObjectLockMode"] = found["ObjectLockMode"]
        extra["ObjectLockRetainUntilDate"] = until
    if found.get("ObjectLockLegalHoldStatus") == "ON":
        extra["ObjectLockLegalHoldStatus"] = "ON"
    target.upload_fileobj(found["Body"], bucket, key, ExtraArgs=extra)
    stored = target.head_object(Bucket=bucket, Key=key)
    if stored["ContentLength"] != found["ContentLength"]:
        raise ValueError(f"{stored['ContentLength']} of {found['ContentLength']} bytes were stored")
    return found["ContentLength"]


def copy_key(source, target, bucket, key, versions):
    """Copies what a key holds; how many versions, and bytes."""
    there = target.list_object_versions(Bucket=bucket, Prefix=key, MaxKeys=1)
    if any(it["Key"] == key for it in there.get("Versions", []) + there.get("DeleteMarkers", [])):
        return 0, 0
    size = 0
    for is_marker, version in versions:
        if is_marker:
            target.delete_object(Bucket=bucket, Key=key)
        else:
            size += copy_version(source, target, bucket, key, version)
    return len(versions), size


def copy_bucket(source, target, bucket):
    """Copies a bucket; how many keys and settings failed."""
    versioning = make(source, target, bucket)
    count = size = failed = 0
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as workers:
        todo = keys(source, bucket)
        # So many at a time: the list of all keys may be long.
        while run := list(itertools.islice(todo, 64 * WORKERS)):
            begun = {workers.submit(copy_key, source, target, bucket, *it): it[0] for it in run}
            for done in concurrent.futures.as_completed(begun):
                try:
                    versions, bytes_ = done.result()
                    count, size = count + versions, size + bytes_
                except (ClientError, ValueError, OSError) as error:
                    failed += 1
                    print(f"{bucket}/{begun[done]}: {error}", file=sys.stderr)
    if versioning == "Suspended":
        target.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    # Last, so that rules and policies do not touch the copy.
    refused = copy_settings(source, target, bucket)
    print(f"{bucket}: {count} versions and delete markers, {size} bytes; {failed} keys failed")
    return failed + refused


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", dest="source", required=True, metavar="PROFILE")
    parser.add_argument("--to", dest="target", required=True, metavar="PROFILE")
    parser.add_argument("buckets", nargs="*", metavar="BUCKET", help="all if none is named")
    options = parser.parse_args()
    config = Config(max_pool_connections=2 * WORKERS, s3={"addressing_style": "path"})
    profiles = (options.source, options.target)
    source, target = (boto3.Session(profile_name=it).client("s3", config=config) for it in profiles)
    source.meta.events.register("before-parse.s3.ListObjectVersions", keep_order)
    buckets = options.buckets or [it["Name"] for it in source.list_buckets()["Buckets"]]
    sys.exit(1 if sum(copy_bucket(source, target, bucket) for bucket in buckets) else 0)


if __name__ == "__main__":
    main()
