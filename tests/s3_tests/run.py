#!/usr/bin/env python3
"""Runs ceph/s3-tests, a public suite of S3 cases, against a node of its own and compares the result with the
list of cases that are known to pass.

    git clone https://github.com/ceph/s3-tests
    python3 tests/s3_tests/run.py s3-tests                 all cases; fails if one of passing.txt does not pass
    python3 tests/s3_tests/run.py s3-tests --select acl    only cases whose name contains "acl"
    python3 tests/s3_tests/run.py s3-tests --write         writes passing.txt anew
    python3 tests/s3_tests/run.py s3-tests --lifecycle     the lifecycle_expiration cases, with short days

The suite itself is neither part of this repository nor changed: it gets an environment of its own under
target/, and a configuration with three accounts. The node runs with `--new-buckets acl`, because the suite
expects new buckets as they were before April 2023: with ACLs, and without a public access block; and with
`--sse-c-over-http`, because it speaks plain HTTP.
"""

import argparse
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import venv
import xml.etree.ElementTree as ElementTree

HERE = pathlib.Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
FILES = ["s3tests/functional/test_s3.py", "s3tests/functional/test_headers.py"]

# Marks of cases that need what no single node has (tiers in another cloud) or is absent (transitions), and of
# those that wait for days to pass, which have a run of their own.
LEFT_OUT = ["lifecycle_expiration", "lifecycle_transition", "cloud_transition", "cloud_restore", "target_by_bucket"]
DAY_SECONDS = 10


def environment(suite):
    """A Python environment with what the suite needs; its path."""
    folder = TARGET / "s3-tests" / "venv"
    wanted = (suite / "requirements.txt").read_text() + "pytest-xdist"
    complete = folder / "complete"
    if not complete.exists() or complete.read_text() != wanted:
        venv.create(folder, with_pip=True, clear=True)
        pip = [folder / "bin/pip", "install", "-q", "--disable-pip-version-check"]
        subprocess.run([*pip, "-r", suite / "requirements.txt", "pytest-xdist"], check=True)
        complete.write_text(wanted)
    return folder / "bin"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Node:
    """A node on a fresh data directory."""

    def __init__(self, binary, data, options):
        self.binary = binary
        self.port, self.admin_port = free_port(), free_port()
        self.environment = dict(
            os.environ, RINGCASK_ROOT_USER="operator", RINGCASK_ROOT_PASSWORD="operator-secret"
        )
        self.process = subprocess.Popen(
            [
                binary,
                *("--data", data),
                *("--listen", f"127.0.0.1:{self.port}"),
                *("--admin-listen", f"127.0.0.1:{self.admin_port}"),
                *("--new-buckets", "acl"),
                "--sse-c-over-http",
                *options,
            ],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=open(TARGET / "s3-tests" / "node.log", "w"),
            text=True,
        )
        # The node says where it listens once it serves.
        for line in self.process.stdout:
            if "http://" in line:
                return
        sys.exit(f"the node did not start; its log is {TARGET / 's3-tests' / 'node.log'}")

    def administer(self, *arguments):
        command = [self.binary, *arguments, "--admin", f"http://127.0.0.1:{self.admin_port}", "--json"]
        result = subprocess.run(command, env=self.environment, check=True, capture_output=True, text=True)
        return json.loads(result.stdout) if result.stdout.strip() else None

    def account(self, name):
        """Makes an account; its canonical id, and an access key of its root."""
        account = self.administer("account", "create", name, "--email", f"{name}@example.com")
        key = self.administer("key", "create", "--account", name)
        return account["canonicalId"], key["accessKeyId"], key["secretAccessKey"]

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)


def configuration(node):
    """What the suite reads."""
    sections = [
        f"[DEFAULT]\nhost = 127.0.0.1\nport = {node.port}\nis_secure = False\nssl_verify = False\n",
        "[fixtures]\nbucket prefix = ringcask-{random}-\n",
    ]
    names = {"s3 main": "main", "s3 alt": "alt", "s3 tenant": "tenant"}
    names |= {"iam": "iam", "iam root": "iam-root", "iam alt root": "iam-alt-root"}
    for section, name in names.items():
        user_id, access_key, secret_key = node.account(name)
        text = f"[{section}]\ndisplay_name = {name}\nemail = {name}@example.com\n"
        text += f"user_id = {user_id}\naccess_key = {access_key}\nsecret_key = {secret_key}\n"
        if name == "main":
            text += "api_name = us-east-1\nkms_keyid = testkey-1\nkms_keyid2 = testkey-2\n"
            text += f"lc_debug_interval = {DAY_SECONDS}\n"
        if name == "tenant":
            text += "tenant = tenant\n"
        sections.append(text)
    for key in ["testkey-1", "testkey-2"]:
        node.administer("kms", "create", key)
    return "\n".join(sections)


def run(suite, tools, arguments, options, marks):
    """Runs the cases; their outcomes by name."""
    report = TARGET / "s3-tests" / "report.xml"
    with tempfile.TemporaryDirectory(prefix="ringcask-s3-tests-") as folder:
        node = Node(arguments.binary, folder + "/data", options)
        try:
            config = pathlib.Path(folder) / "s3tests.conf"
            config.write_text(configuration(node))
            command = [tools / "pytest", "-q", "-m", marks, f"--junitxml={report}", "-p", "no:cacheprovider"]
            command += ["--tb=short", "--durations=15"]
            if arguments.jobs > 1:
                command += ["-n", str(arguments.jobs)]
            if arguments.select:
                command += ["-k", arguments.select]
            settings = dict(os.environ, S3TEST_CONF=str(config), PYTHONDONTWRITEBYTECODE="1")
            with open(TARGET / "s3-tests" / "pytest.log", "w") as log:
                subprocess.run([*command, *FILES], cwd=suite, env=settings, stdout=log, stderr=log, check=False)
        finally:
            if node.stop() != 0:
                sys.exit("the node did not stop in order")
    outcomes = {}
    for case in ElementTree.parse(report).iter("testcase"):
        name = f"{case.get('classname').rsplit('.', 1)[-1]}::{case.get('name')}"
        tags = {child.tag for child in case}
        outcome = "skipped" if "skipped" in tags else "failed" if tags & {"failure", "error"} else "passed"
        # A case whose clean-up fails appears twice; it did not pass.
        if outcomes.get(name) != "failed":
            outcomes[name] = outcome
    return outcomes


def names_with_mark(suite, tools, mark):
    """Names of the suite's cases that carry a mark."""
    command = [tools / "pytest", "--collect-only", "-q", "-m", mark, "-p", "no:cacheprovider", *FILES]
    settings = dict(os.environ, S3TEST_CONF=str(suite / "s3tests.conf.SAMPLE"), PYTHONDONTWRITEBYTECODE="1")
    listed = subprocess.run(command, cwd=suite, env=settings, check=True, capture_output=True, text=True).stdout
    lines = (line for line in listed.splitlines() if "::" in line)
    return {re.sub(r"^.*/(\w+)\.py::", r"\1::", line) for line in lines}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suite", type=pathlib.Path, help="folder of a checkout of ceph/s3-tests")
    parser.add_argument("--binary", default=str(TARGET / "release" / "ringcask"), help="the node's program")
    parser.add_argument("--select", help="an expression of pytest's -k")
    parser.add_argument("--jobs", type=int, default=1, help="cases at a time")
    parser.add_argument("--write", action="store_true", help="write the list of passing cases anew")
    parser.add_argument("--lifecycle", action="store_true", help="the lifecycle_expiration cases instead")
    arguments = parser.parse_args()

    suite = arguments.suite.resolve()
    tools = environment(suite)
    marks, options, known_file = " and ".join(f"not {mark}" for mark in LEFT_OUT), [], HERE / "passing.txt"
    if arguments.lifecycle:
        marks, known_file = "lifecycle_expiration and not lifecycle_transition", HERE / "passing_lifecycle.txt"
        options = ["--lifecycle-day-seconds", str(DAY_SECONDS)]
    outcomes = run(suite, tools, arguments, options, marks)

    passed = {name for name, outcome in outcomes.items() if outcome == "passed"}
    failed = {name for name, outcome in outcomes.items() if outcome == "failed"}
    beyond_aws = names_with_mark(suite, tools, "fails_on_aws")
    print(f"{len(passed)} of {len(passed | failed)} passed, {len(outcomes) - len(passed | failed)} skipped")
    print(f"of those that AWS would pass: {len(passed - beyond_aws)} of {len((passed | failed) - beyond_aws)}")
    known = set(known_file.read_text().split()) if known_file.exists() else set()
    for name in sorted(failed):
        print(f"{'REGRESSION' if name in known else 'fails'}{' (fails_on_aws)' if name in beyond_aws else ''} {name}")
    for name in sorted(passed - known):
        print(f"new {name}")
    if arguments.write:
        known_file.write_text("".join(f"{name}\n" for name in sorted(passed)))
    elif known & failed:
        sys.exit(f"{len(known & failed)} cases that passed before fail now")


if __name__ == "__main__":
    main()
