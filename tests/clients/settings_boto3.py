"""boto3: every setting of a bucket is put, got and removed, and what cannot be heeded is refused."""

import json
import sys
import urllib.error
import urllib.request

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

import objects
from objects import same

BUCKET = "settings"
TARGET = sys.argv[1]


def code(call, **arguments):
    """S3's code of a refusal; empty if there is none."""
    try:
        call(Bucket=BUCKET, **arguments)
    except ClientError as error:
        return error.response["Error"]["Code"]
    return ""


def got(answer):
    return {name: value for name, value in answer.items() if name != "ResponseMetadata"}


def documents(s3):
    """Settings whose GET answers what was put: the calls, the name of the document, the document itself, and
    what a GET says that finds none."""
    rules = {"Rules": [
        {"ID": "logs", "Filter": {"Prefix": "logs/"}, "Status": "Enabled", "Expiration": {"Days": 3},
         "NoncurrentVersionExpiration": {"NoncurrentDays": 2, "NewerNoncurrentVersions": 5}},
        {"ID": "both", "Status": "Disabled", "Expiration": {"Days": 1}, "Filter": {"And": {
            "Prefix": "x/", "Tags": [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}],
            "ObjectSizeGreaterThan": 10, "ObjectSizeLessThan": 20}}},
        {"ID": "uploads", "Filter": {"Prefix": ""}, "Status": "Enabled",
         "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7}},
        {"ID": "markers", "Filter": {"Prefix": ""}, "Status": "Enabled",
         "Expiration": {"ExpiredObjectDeleteMarker": True}},
    ]}
    return [
        ("bucket_tagging", "Tagging", {"TagSet": [{"Key": "Hello", "Value": "World"}]}, "NoSuchTagSet"),
        ("bucket_cors", "CORSConfiguration", {"CORSRules": [
            {"ID": "one", "AllowedHeaders": ["*"], "AllowedMethods": ["GET", "PUT"], "MaxAgeSeconds": 60,
             "AllowedOrigins": ["https://*.example.com"], "ExposeHeaders": ["ETag"]}]}, "NoSuchCORSConfiguration"),
        ("bucket_lifecycle_configuration", "LifecycleConfiguration", rules, "NoSuchLifecycleConfiguration"),
        ("bucket_encryption", "ServerSideEncryptionConfiguration", {"Rules": [
            {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": False}]},
         "ServerSideEncryptionConfigurationNotFoundError"),
        ("bucket_ownership_controls", "OwnershipControls",
         {"Rules": [{"ObjectOwnership": "BucketOwnerPreferred"}]}, "OwnershipControlsNotFoundError"),
        ("public_access_block", "PublicAccessBlockConfiguration",
         {"BlockPublicAcls": True, "IgnorePublicAcls": False, "BlockPublicPolicy": True,
          "RestrictPublicBuckets": False}, "NoSuchPublicAccessBlockConfiguration"),
    ]


def round_trips(s3):
    for name, argument, document, absent in documents(s3):
        get = getattr(s3, f"get_{name}")
        put = getattr(s3, f"put_{name}")
        delete = getattr(s3, "delete_" + name.replace("lifecycle_configuration", "lifecycle"))
        same(f"{name}: none", code(get), absent)
        put(Bucket=BUCKET, **{argument: document})
        answer = got(get(Bucket=BUCKET))
        answer.pop("TransitionDefaultMinimumObjectSize", None)
        same(f"{name}: as put", answer.get(argument, answer), document)
        delete(Bucket=BUCKET)
        delete(Bucket=BUCKET)
        same(f"{name}: removed", code(get), absent)


def refusals(s3):
    rule = {"ID": "a", "Status": "Enabled", "Filter": {"Prefix": ""}}
    put = s3.put_bucket_lifecycle_configuration
    for what, change, expected in [
        ("no days", {"Expiration": {"Days": 0}}, "InvalidArgument"),
        ("a long id", {"ID": "i" * 256, "Expiration": {"Days": 1}}, "InvalidArgument"),
        ("an odd status", {"Status": "enabled", "Expiration": {"Days": 1}}, "MalformedXML"),
        ("nothing to do", {}, "InvalidRequest"),
        ("a transition", {"Transitions": [{"Days": 1, "StorageClass": "GLACIER"}]}, "NotImplemented"),
    ]:
        same(f"lifecycle: {what}", code(put, LifecycleConfiguration={"Rules": [rule | change]}), expected)
    tags = [{"Key": f"k{number}", "Value": ""} for number in range(51)]
    same("tagging: too many", code(s3.put_bucket_tagging, Tagging={"TagSet": tags}), "InvalidTag")
    same("payment: requester", code(s3.put_bucket_request_payment,
                                    RequestPaymentConfiguration={"Payer": "Requester"}), "NotImplemented")
    same("payment: owner", code(s3.put_bucket_request_payment,
                                RequestPaymentConfiguration={"Payer": "BucketOwner"}), "")


def versions_and_locks(s3):
    same("versioning: never", got(s3.get_bucket_versioning(Bucket=BUCKET)), {})
    for status in ["Enabled", "Suspended"]:
        s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": status})
        same(f"versioning: {status}", s3.get_bucket_versioning(Bucket=BUCKET)["Status"], status)
    lock = {"ObjectLockEnabled": "Enabled",
            "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}}}
    same("lock: without versions", code(s3.put_object_lock_configuration, ObjectLockConfiguration=lock),
         "InvalidBucketState")
    s3.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
    same("lock: at creation", s3.get_bucket_versioning(Bucket="locked")["Status"], "Enabled")
    s3.put_object_lock_configuration(Bucket="locked", ObjectLockConfiguration=lock)
    same("lock: as put", s3.get_object_lock_configuration(Bucket="locked")["ObjectLockConfiguration"], lock)


def grants(s3):
    everybody = "http://acs.amazonaws.com/groups/global/AllUsers"
    s3.put_bucket_acl(Bucket=BUCKET, ACL="public-read")
    acl = s3.get_bucket_acl(Bucket=BUCKET)
    same("acl: canned", acl["Grants"][0]["Grantee"], {"Type": "Group", "URI": everybody})
    same("acl: public", s3.get_bucket_policy_status(Bucket=BUCKET)["PolicyStatus"]["IsPublic"], True)
    s3.put_bucket_acl(Bucket=BUCKET, AccessControlPolicy={"Owner": acl["Owner"], "Grants": acl["Grants"][1:]})
    same("acl: document", len(s3.get_bucket_acl(Bucket=BUCKET)["Grants"]), 1)
    policy = json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{BUCKET}/*"}]})
    s3.put_bucket_policy(Bucket=BUCKET, Policy=policy)
    same("policy: byte for byte", s3.get_bucket_policy(Bucket=BUCKET)["Policy"], policy)
    s3.delete_bucket_policy(Bucket=BUCKET)
    same("policy: removed", code(s3.get_bucket_policy), "NoSuchBucketPolicy")
    same("policy: malformed", code(s3.put_bucket_policy, Policy="[]"), "MalformedPolicy")


def notifications(s3):
    wish = {"QueueConfigurations": [
        {"Id": "a", "QueueArn": TARGET, "Events": ["s3:ObjectCreated:*"],
         "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": "images/"}]}}}]}
    s3.put_bucket_notification_configuration(Bucket=BUCKET, NotificationConfiguration=wish)
    same("notification: as put", got(s3.get_bucket_notification_configuration(Bucket=BUCKET)), wish)
    unknown = json.loads(json.dumps(wish).replace(TARGET, "arn:aws:sqs:us-east-1:123456789012:none"))
    same("notification: nobody there", code(s3.put_bucket_notification_configuration,
                                            NotificationConfiguration=unknown), "InvalidArgument")
    s3.put_bucket_notification_configuration(Bucket=BUCKET, NotificationConfiguration={})
    same("notification: none", got(s3.get_bucket_notification_configuration(Bucket=BUCKET)), {})


def preflight(s3):
    s3.put_bucket_cors(Bucket=BUCKET, CORSConfiguration={"CORSRules": [
        {"AllowedMethods": ["PUT"], "AllowedOrigins": ["https://a.example.com"], "AllowedHeaders": ["content-*"]}]})

    def ask(origin):
        headers = {"Origin": origin, "Access-Control-Request-Method": "PUT",
                   "Access-Control-Request-Headers": "Content-Type"}
        url = f"{objects.ENDPOINT}/{BUCKET}/key"
        request = urllib.request.Request(url, method="OPTIONS", headers=headers)
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, answer.headers["Access-Control-Allow-Origin"]
        except urllib.error.HTTPError as error:
            return error.code, error.headers["Access-Control-Allow-Origin"]

    same("preflight: allowed", ask("https://a.example.com"), (200, "https://a.example.com"))
    same("preflight: refused", ask("https://b.example.com"), (403, None))


def main():
    s3 = boto3.client("s3", config=Config(retries={"total_max_attempts": 1}))
    s3.create_bucket(Bucket=BUCKET)
    round_trips(s3)
    refusals(s3)
    versions_and_locks(s3)
    grants(s3)
    notifications(s3)
    preflight(s3)


main()
