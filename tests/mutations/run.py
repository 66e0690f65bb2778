#!/usr/bin/env python3
"""Puts faults into the engine, one at a time, and sees whether its tests notice.

    python3 tests/mutations/run.py                 all of tests/mutations/mutations.toml
    python3 tests/mutations/run.py --only reading  those whose name contains the text

The engine and what it stands on (`base`, `io`) are copied to a package of their own under
`target/mutations`, which builds in seconds; the working tree is not touched. Ends with 1 if a fault was not
caught, could not be applied or did not build, or if the engine's tests fail without any.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import tomllib
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
LAYERS = ("base", "io", "engine")
# A fault may make the engine wait for ever.
SECONDS_MAX = 600


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--only", metavar="TEXT", default="", help="faults whose name contains it")
    arguments.add_argument("--tests", default="engine::", help="tests to run, as for cargo test")
    arguments.add_argument("--seeds", metavar="FIRST..LAST", help="histories to try instead of the usual ones")
    given = arguments.parse_args()
    listed = tomllib.loads((REPOSITORY / "tests/mutations/mutations.toml").read_text())["mutation"]
    chosen = [mutation for mutation in listed if given.only in mutation["name"]]
    if not chosen:
        sys.exit(f"no fault's name contains {given.only!r}")
    package = make_package()
    run = lambda: run_tests(package, given.tests, given.seeds)
    sound, failed = run()
    if sound != "passed":
        sys.exit(f"without any fault the tests {sound}: {failed}")
    missed = 0
    for mutation in chosen:
        path = package / "src" / mutation["file"]
        source = path.read_text()
        if source.count(mutation["find"]) != 1:
            outcome, by = "does not apply", ""
        else:
            path.write_text(source.replace(mutation["find"], mutation["replace"]))
            began = time.monotonic()
            outcome, by = run()
            by = f"{by} ({time.monotonic() - began:.0f} s)"
            path.write_text(source)
        caught = outcome in ("failed", "hung")
        missed += not caught
        print(f"{'caught' if caught else 'MISSED':7} {mutation['name']}: {outcome} {by}", flush=True)
    print(f"{len(chosen) - missed} of {len(chosen)} caught")
    return 1 if missed else 0


def make_package() -> Path:
    """A package with the layers up to the engine only; what was built for it before stays."""
    package = REPOSITORY / "target/mutations"
    shutil.rmtree(package / "src", ignore_errors=True)
    for layer in LAYERS:
        shutil.copytree(REPOSITORY / "src" / layer, package / "src" / layer)
    (package / "src/lib.rs").write_text("".join(f"pub mod {layer};\n" for layer in LAYERS))
    manifest = (REPOSITORY / "Cargo.toml").read_text()
    dependencies = re.search(r"^\[dependencies\].*?(?=^\[profile)", manifest, re.MULTILINE | re.DOTALL)
    head = '[package]\nname = "engine-with-faults"\nversion = "0.0.0"\nedition = "2024"\n\n[workspace]\n\n'
    profile = '\n[profile.dev]\nopt-level = 1\ndebug = false\n\n[profile.dev.package."*"]\nopt-level = 3\n'
    (package / "Cargo.toml").write_text(head + dependencies.group() + profile)
    shutil.copy(REPOSITORY / "Cargo.lock", package / "Cargo.lock")
    return package


def run_tests(package: Path, tests: str, seeds: str | None) -> tuple[str, str]:
    """How the tests ended, and by which of them."""
    environment = dict(os.environ, CARGO_TARGET_DIR=str(package / "target"), RUSTFLAGS="--cap-lints allow")
    build = ["cargo", "test", "--quiet", "--lib", "--no-run"]
    built = subprocess.run(build, cwd=package, env=environment, capture_output=True, text=True)
    if built.returncode != 0:
        errors = [line for line in built.stderr.splitlines() if line.startswith("error")]
        return "did not build", "; ".join(errors[:2])
    if seeds:
        environment["RINGCASK_CRASH_SEEDS"] = seeds
    # A group of its own, so that a test that hangs ends with cargo.
    running = subprocess.Popen(
        ["cargo", "test", "--lib", tests], cwd=package, env=environment, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )
    timer = threading.Timer(SECONDS_MAX, os.killpg, (running.pid, signal.SIGKILL))
    timer.start()
    # The first failure says enough.
    failed = next((line for line in running.stdout if line.rstrip().endswith("... FAILED")), None)
    expired = not timer.is_alive()
    timer.cancel()
    if failed:
        os.killpg(running.pid, signal.SIGKILL)
    code = running.wait()
    if failed:
        return "failed", failed.removeprefix("test ").rsplit(" ... ", 1)[0]
    if expired:
        return "hung", ""
    return ("passed", "") if code == 0 else ("failed", f"cargo test ended with {code}")


if __name__ == "__main__":
    sys.exit(main())
