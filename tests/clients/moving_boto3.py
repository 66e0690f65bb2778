"""Moves buckets and users from the node of the environment to another one, with the programs of docs/moving/.

Arguments: where the other node serves S3, where its admin API listens, the ringcask binary, docs/moving.
"""

import json
import os
import subprocess
import sys
import zipfile
from datetime import datetime, timedelta, timezone
from pathlib import Path

import boto3
from botocore.exceptions import ClientError

endpoint, admin, binary, programs = sys.argv[1:]
credentials = {name: os.environ[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
bare = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}


def client(url, access_key=None, secret=None):
    keys = {"aws_access_key_id": access_key, "aws_secret_access_key": secret} if access_key else {}
    return boto3.client("s3", endpoint_url=url, **keys)


old, new = client(os.environ["AWS_ENDPOINT_URL"]), client(endpoint)


def fill():
    for bucket in ("plain", "versions"):
        old.create_bucket(Bucket=bucket)
    old.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
    old.put_bucket_versioning(Bucket="versions", VersioningConfiguration={"Status": "Enabled"})
    for number in range(40):
        old.put_object(Bucket="plain", Key=f"many/{number}", Body=os.urandom(number * 1000))
    old.put_object(
        Bucket="plain",
        Key="page ä+%.html",
        Body=b"<p>",
        ContentType="text/html; charset=utf-8",
        CacheControl="max-age=60",
        ContentDisposition='attachment; filename="p.html"',
        ContentLanguage="de",
        Expires=datetime(2030, 1, 1),
        Metadata={"note": "two words"},
        Tagging="project=x&stage=test%20one",
    )
    old.put_object(Bucket="plain", Key="folder/")
    old.upload_file(__file__, "plain", "file", ExtraArgs={"Metadata": {"a": "b"}})
    for number in range(3):
        old.put_object(Bucket="versions", Key="doc", Body=b"%d" % number, Tagging=f"v={number}")
    old.delete_object(Bucket="versions", Key="doc")
    old.put_object(Bucket="versions", Key="doc", Body=b"again")
    old.put_object(Bucket="versions", Key="gone", Body=b"x")
    old.delete_object(Bucket="versions", Key="gone")
    until = datetime.now(timezone.utc) + timedelta(days=2)
    old.put_object(Bucket="locked", Key="k", Body=b"k", ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=until)
    old.put_object(Bucket="locked", Key="held", Body=b"h", ObjectLockLegalHoldStatus="ON")
    old.put_bucket_tagging(Bucket="plain", Tagging={"TagSet": [{"Key": "team", "Value": "a"}]})
    rule = {"ID": "r", "Status": "Enabled", "Filter": {"Prefix": "tmp/"}, "Expiration": {"Days": 3}}
    old.put_bucket_lifecycle_configuration(Bucket="plain", LifecycleConfiguration={"Rules": [rule]})


def seen(s3):
    """All that is to come along, in an order that both sides have."""
    found = []
    for bucket in ("locked", "plain", "versions"):
        found.append((bucket, s3.get_bucket_versioning(Bucket=bucket).get("Status")))
        page = s3.list_object_versions(Bucket=bucket)
        for key in sorted({it["Key"] for it in page["Versions"] + page.get("DeleteMarkers", [])}):
            held = [it for it in page["Versions"] + page.get("DeleteMarkers", []) if it["Key"] == key]
            for version in sorted(held, key=lambda it: it["VersionId"]):
                found.append((bucket, key, version["IsLatest"], version.get("Size"), version.get("ETag")))
                if "Size" not in version:
                    continue
                which = {"Bucket": bucket, "Key": key, "VersionId": version["VersionId"]}
                answer = s3.get_object(**which)
                headers = ("ContentType", "CacheControl", "ContentDisposition", "ContentLanguage", "ExpiresString")
                found.append([answer.get(name) for name in headers] + [answer["Metadata"], answer["Body"].read()])
                locks = ("ObjectLockMode", "ObjectLockRetainUntilDate", "ObjectLockLegalHoldStatus")
                found.append([answer.get(name) for name in locks])
                found.append(s3.get_object_tagging(**which)["TagSet"])
    found.append(s3.get_bucket_tagging(Bucket="plain")["TagSet"])
    found.append(s3.get_bucket_lifecycle_configuration(Bucket="plain")["Rules"])
    found.append(s3.get_object_lock_configuration(Bucket="locked")["ObjectLockConfiguration"])
    return found


def profile(name, url):
    keys = [f"{key.lower()} = {value}" for key, value in credentials.items()]
    return "\n".join([f"[profile {name}]", f"endpoint_url = {url}", "region = us-east-1", *keys, ""])


def copy(*buckets):
    environment = {**bare, "AWS_CONFIG_FILE": "aws-config"}
    command = [sys.executable, f"{programs}/copy_versions.py", "--from", "old", "--to", "new", *buckets]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout


def move_buckets():
    fill()
    Path("aws-config").write_text(profile("old", os.environ["AWS_ENDPOINT_URL"]) + profile("new", endpoint))
    assert "0 keys failed" in copy()
    left, right = seen(old), seen(new)
    for one, other in zip(left, right):
        assert one == other, (one, other)
    assert len(left) == len(right)
    # Repeated, it finds nothing to do, and what was written since is left alone.
    new.put_object(Bucket="plain", Key="many/1", Body=b"changed since")
    assert "plain: 0 versions" in copy("plain")
    assert new.get_object(Bucket="plain", Key="many/1")["Body"].read() == b"changed since"


def move_users():
    """What `mc admin cluster iam export` of MinIO has written for such users."""
    document = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": ["arn:aws:s3:::plain/*"]}],
    }
    service = {"parent": "alice", "secretKey": "svcsecret12345", "sessionPolicy": None, "status": "on"}
    assets = {
        "policies": {"plainreader": document, "readwrite": {}, "diagnostics": {}},
        "users": {
            "alice": {"secretKey": "alicesecret123", "status": "enabled"},
            "bob": {"secretKey": "bobsecret12345", "status": "disabled"},
            "carol": {"secretKey": "carolsecret123", "status": "enabled"},
        },
        "groups": {"team": {"version": 1, "status": "enabled", "members": ["bob", "carol"]}},
        "user_mappings": {"alice": {"version": 0, "policy": "readwrite"}},
        "group_mappings": {"team": {"version": 0, "policy": "plainreader"}},
        "svcaccts": {"svcalice12": service, "svclimited1": {**service, "sessionPolicy": document}},
    }
    with zipfile.ZipFile("old-iam-info.zip", "w") as archive:
        for name, content in assets.items():
            archive.writestr(f"iam-assets/{name}.json", json.dumps(content))
    path = f"{Path(binary).parent}:{os.environ['PATH']}"
    environment = {**bare, **credentials, "RINGCASK_ADMIN": admin, "PATH": path}
    command = [sys.executable, f"{programs}/import_users.py", "old-iam-info.zip"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    said = done.stderr.splitlines()
    assert done.returncode == 1 and len(said) == 1 and "svclimited1" in said[0], done
    for access_key, secret in (("alice", "alicesecret123"), ("svcalice12", "svcsecret12345")):
        client(endpoint, access_key, secret).put_object(Bucket="plain", Key="theirs", Body=b"")
    reader = client(endpoint, "carol", "carolsecret123")
    assert reader.get_object(Bucket="plain", Key="page ä+%.html")["Body"].read() == b"<p>"
    for who, call in (("carol", reader.put_object), ("bob", client(endpoint, "bob", "bobsecret12345").put_object)):
        try:
            call(Bucket="plain", Key="theirs", Body=b"")
            raise AssertionError(f"{who} may write")
        except ClientError as error:
            assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 403, error


move_buckets()
move_users()
