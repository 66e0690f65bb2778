#!/usr/bin/env python3
"""Brings users, groups, policies and keys of a MinIO server to a ringcask node.

    mc admin cluster iam export old            # writes old-iam-info.zip, with secrets in plain text
    import_users.py old-iam-info.zip

Runs `ringcask` commands, which find the node and the operator's credentials as ever (RINGCASK_ADMIN,
AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY). Clients keep their access keys: a user's name is its first key, and service
accounts become further keys of their parents. What cannot be brought along is said, and makes the exit code 1.
"""

import json
import subprocess
import sys
import zipfile

BUILT_IN = {"consoleAdmin", "readonly", "readwrite", "writeonly"}
# MinIO's own, for its administration.
OF_MINIO = {"diagnostics"}
complaints = []


def ringcask(*arguments, text=None):
    done = subprocess.run(["ringcask", *arguments], input=text, capture_output=True, text=True)
    if done.returncode != 0:
        complaints.append(f"ringcask {' '.join(arguments)}: {done.stderr.strip()}")
    return done.returncode == 0


def policies_of(mappings, name):
    """Policies that are attached to a user or a group, as arguments."""
    attached = [it.strip() for it in mappings.get(name, {}).get("policy", "").split(",") if it.strip()]
    for policy in [it for it in attached if it in OF_MINIO]:
        complaints.append(f"{name} had MinIO's policy {policy}, which means nothing here")
    return [word for it in attached if it not in OF_MINIO for word in ("--policy", it)]


def key(user, access_key, secret, is_on):
    made = ringcask("key", "create", "--user", user, "--id", access_key, "--secret-stdin", text=secret + "\n")
    if made and not is_on:
        ringcask("key", "deactivate", access_key)


def main():
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    with zipfile.ZipFile(sys.argv[1]) as archive:
        names = set(archive.namelist())
        read = lambda name: json.loads(archive.read(name)) if name in names else {}  # noqa: E731
        parts = ["policies", "users", "groups", "svcaccts", "user_mappings", "group_mappings", "stsuser_mappings"]
        held = {part: read(f"iam-assets/{part}.json") or {} for part in parts}
    for name, document in held["policies"].items():
        if name not in BUILT_IN | OF_MINIO:
            ringcask("policy", "put", name, "-", text=json.dumps(document))
    for name, user in held["users"].items():
        if ringcask("user", "create", name, *policies_of(held["user_mappings"], name)):
            key(name, name, user["secretKey"], user["status"] == "enabled")
    for name, group in held["groups"].items():
        policies = policies_of(held["group_mappings"], name) if group["status"] == "enabled" else []
        if ringcask("group", "create", name, *policies):
            for member in group.get("members") or []:
                ringcask("group", "add", name, member)
        if group["status"] != "enabled":
            complaints.append(f"group {name} was disabled: it is made without its policies")
    for access_key, account in held["svcaccts"].items():
        if account.get("sessionPolicy"):
            complaints.append(f"key {access_key} of {account['parent']} has a policy of its own: make a user with it")
        elif account["parent"] not in held["users"]:
            complaints.append(f"key {access_key} is one of {account['parent']}, who is no user of MinIO's own")
        else:
            key(account["parent"], access_key, account["secretKey"], account["status"] == "on")
    for name in held["stsuser_mappings"]:
        complaints.append(f"{name} is known to an identity provider: nothing is brought along")
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    sys.exit(1 if complaints else 0)


if __name__ == "__main__":
    main()
