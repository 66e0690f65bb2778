#!/usr/bin/env python3
"""Compares the node with what people would use in its place: the same load on each in turn, on the same CPUs.

    python3 benches/compare/run.py --quick              three small rounds
    python3 benches/compare/run.py                      five rounds of everything
    python3 benches/compare/run.py --only ringcask,nginx --loads get-
    python3 benches/compare/run.py --render FOLDER      tables and plots again, from FOLDER/results.json

What is compared is got from the package registries into target/peers; who cannot be had is left out with a line
that says why. Results are written to a folder of their own under target/compare. benches/README.md says what is
measured and how to read it. Ends with 1 if a load failed at the node, or if servers did not do the same work.
"""

import argparse
import dataclasses
import datetime
import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.dont_write_bytecode = True

import durability  # noqa: E402 (the folder must be known first)
import machine  # noqa: E402
import report  # noqa: E402
from loads import requests, s3bench, warp  # noqa: E402
from machine import Failure  # noqa: E402
from peers import all_peers  # noqa: E402
from tools import Tools  # noqa: E402

REPOSITORY = HERE.parents[1]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))

GO_TOOLS = {
    "warp": "github.com/minio/warp@v1.3.1",
    "s3bench": "github.com/igneous-systems/s3bench@latest",
    "s3-benchmark": "github.com/wasabi-tech/s3-benchmark@latest",
}

# Keys of these rounds are no round's of the measurement.
ROUNDS_OF_TRACES = (1000, 1001)
TRACED_SCALE = 0.02


@dataclasses.dataclass
class Plan:
    """How much of what."""

    rounds: int
    # Rounds in which the slower loads, warp and the s3-bench family, run too.
    rounds_of_clients: int
    scale: float
    workloads: list
    warp_loads: list
    warp_seconds: int
    samples: int


def plan_of(arguments):
    if arguments.quick:
        plan = Plan(3, 1, 0.1, requests.QUICK, [load for load in warp.LOADS if load.name in warp.QUICK], 2, 64)
    else:
        plan = Plan(5, 3, 1.0, requests.WORKLOADS, warp.LOADS, 10, 400)
    plan.rounds = arguments.rounds or plan.rounds
    plan.rounds_of_clients = min(plan.rounds, arguments.client_rounds or plan.rounds_of_clients)
    plan.scale = arguments.scale or plan.scale
    plan.warp_seconds = arguments.warp_seconds or plan.warp_seconds
    wanted = arguments.loads.split(",") if arguments.loads else [""]
    plan.workloads = [name for name in plan.workloads if any(part in name for part in wanted)]
    plan.warp_loads = [load for load in plan.warp_loads if any(part in load.name for part in wanted)]
    return plan, [name for name in ("s3bench", "s3-benchmark") if any(part in name for part in wanted)]


class Run:
    """One comparison, from start to end."""

    def __init__(self, arguments):
        self.arguments = arguments
        self.plan, self.families = plan_of(arguments)
        server, client = machine.default_cpus()
        self.server_cpus = machine.cpus_of(arguments.server_cpus) if arguments.server_cpus else server
        self.client_cpus = machine.cpus_of(arguments.client_cpus) if arguments.client_cpus else client
        self.tools = Tools(arguments.peers_folder, arguments.tools, not arguments.no_install)
        self.output = Path(arguments.output or TARGET / "compare" / f"{datetime.datetime.now():%Y-%m-%d-%H%M%S}")
        self.data = Path(arguments.data or TARGET / "compare" / "data").resolve()
        machine.raise_limits()
        self.began, self.load_before = time.monotonic(), machine.load_average()
        self.left_out, self.samples, self.turns, self.durable = [], [], [], {}
        self.peers, self.programs = [], {}

    def prepare(self):
        """Gets everything that is needed, and says what is not to be had."""
        say("building the node and the load generator")
        self.load_generator, node = requests.build(REPOSITORY)
        self.tools.searched.insert(0, Path(node).parent)
        only = self.arguments.only.split(",") if self.arguments.only else None
        for peer in all_peers():
            if only and peer.name not in only:
                continue
            try:
                self.peers.append(peer.get(self.tools))
            except Failure as failure:
                self.left_out.append(f"{peer.title}: {failure}")
                say(f"left out: {self.left_out[-1]}")
        for name in ["warp"] * bool(self.plan.warp_loads) + self.families:
            try:
                self.programs[name] = self.tools.go(name, GO_TOOLS[name])
            except Failure as failure:
                self.left_out.append(f"loads of {name}: {failure}")
                say(f"left out: {self.left_out[-1]}")
        for program in ("zstd", "strace"):
            try:
                self.tools.debian(program, program)
            except Failure as failure:
                self.left_out.append(f"what needs {program}: {failure}")

    def measure(self):
        """All rounds. Each begins with another server, so that a disturbance of the machine, or what a server leaves
        behind in caches, meets none of them always."""
        shutil.rmtree(self.data, ignore_errors=True)
        for turn in range(1, self.plan.rounds + 1):
            for at in range(len(self.peers)):
                peer = self.peers[(at + turn - 1) % len(self.peers)]
                began = time.monotonic()
                try:
                    samples = self.turn(peer, turn)
                except Failure as failure:
                    samples = []
                    self.left_out.append(f"{peer.title} in round {turn}: {failure}")
                finally:
                    peer.stop()
                self.samples += [sample | {"peer": peer.name, "turn": turn} for sample in samples]
                failed = [sample["load"] for sample in samples if "error" in sample]
                note = f"; failed: {', '.join(failed)}" if failed else ""
                say(f"round {turn}, {peer.title}: {time.monotonic() - began:.0f} s{note}")
            self.write()

    def turn(self, peer, turn):
        """All loads on one server, in one round."""
        folder = self.data / peer.name
        is_stocked = (folder / "stocked").exists()
        peer.start(folder, self.server_cpus)
        samples = requests.measure(
            peer, self.load_generator, self.client_cpus, self.plan.workloads, self.plan.scale, turn, is_stocked)
        if not samples or any("error" not in sample for sample in samples):
            (folder / "stocked").touch()
        if turn <= self.plan.rounds_of_clients and not peer.is_file_server:
            samples += self.clients(peer, folder)
        user, system = peer.process.user_and_system()
        self.turns.append({
            "peer": peer.name, "turn": turn, "memory_peak_bytes": peer.process.memory_peak_bytes(),
            "user_seconds": user, "system_seconds": system, "load_average": machine.load_average()})
        return samples

    def clients(self, peer, folder):
        """Loads by programs of others."""
        plan, cpus, samples = self.plan, self.client_cpus, []
        if "warp" in self.programs:
            quick = self.arguments.quick
            samples += warp.measure(
                peer, self.programs["warp"], cpus, plan.warp_loads, plan.warp_seconds, quick, folder)
        if "s3bench" in self.programs:
            samples += s3bench.s3bench(peer, self.programs["s3bench"], cpus, plan.samples, folder)
        if "s3-benchmark" in self.programs:
            samples += s3bench.s3_benchmark(peer, self.programs["s3-benchmark"], cpus, plan.warp_seconds, folder)
        return samples

    def trace(self):
        """A short run of each server that shows whether its writes are durable."""
        for peer in self.peers:
            folder = self.data / peer.name
            try:
                peer.start(folder, self.server_cpus)
                watches = durability.Flushes(folder), durability.Syncs(peer.process, folder)
                for watch, turn in zip(watches, ROUNDS_OF_TRACES):
                    requests.measure(
                        peer, self.load_generator, self.client_cpus, [requests.ONE_BY_ONE], TRACED_SCALE, turn,
                        (folder / "stocked").exists(), watch)
                    (folder / "stocked").touch()
                flushes, syncs = (watch.per_put for watch in watches)
                verdict = durability.judge(peer, syncs, flushes)
                self.durable[peer.name] = {"verdict": verdict, "syncs_per_put": syncs, "flushes_per_put": flushes}
            except Failure as failure:
                self.durable[peer.name] = {"verdict": f"not traced: {failure}"}
            finally:
                peer.stop()
            say(f"durability, {peer.title}: {self.durable[peer.name]['verdict']}")

    def results(self):
        plan = self.plan
        mode = "quick" if self.arguments.quick else "full"
        return {
            "setting": [
                machine.describe(),
                f"server on CPU {machine_list(self.server_cpus)}, client on CPU {machine_list(self.client_cpus)}",
                f"{mode} mode: {plan.rounds} rounds, {plan.rounds_of_clients} of them with warp ({plan.warp_seconds} s "
                f"each) and the s3-bench family; scale {plan.scale}",
                f"load average before: {self.load_before}; after: {machine.load_average()} (1, 5 and 15 minutes)",
                f"{datetime.datetime.now():%Y-%m-%d %H:%M}, took {(time.monotonic() - self.began) / 60:.0f} minutes",
            ],
            "left_out": self.left_out,
            "peers": [
                {"name": peer.name, "title": peer.title, "version": peer.version, "documented": peer.durability,
                 "durability": self.durable.get(peer.name)}
                for peer in self.peers
            ],
            "turns": self.turns,
            "samples": self.samples,
        }

    def write(self):
        return report.write(self.output, self.results())


def machine_list(cpus):
    return ",".join(map(str, cpus))


def say(text):
    print(f"{datetime.datetime.now():%H:%M:%S} {text}", file=sys.stderr, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small rounds: minutes instead of hours")
    parser.add_argument("--only", metavar="NAMES", help=f"of {','.join(peer.name for peer in all_peers())}")
    parser.add_argument("--loads", metavar="TEXTS", help="loads whose names contain one of these, separated by commas")
    parser.add_argument("--rounds", type=int, help="rounds of the load generator")
    parser.add_argument("--client-rounds", type=int, help="rounds in which warp and the s3-bench family run, too")
    parser.add_argument("--scale", type=float, help="multiplies the requests of the load generator's workloads")
    parser.add_argument("--warp-seconds", type=int, help="duration of each run of warp")
    parser.add_argument("--server-cpus", metavar="LIST", help="like 0 or 0-1; default: the first")
    parser.add_argument("--client-cpus", metavar="LIST", help="default: all others")
    parser.add_argument("--tools", metavar="DIR", action="append", default=[], help="where programs are (repeatable)")
    parser.add_argument("--no-install", action="store_true", help="compare only what is there")
    parser.add_argument("--install", action="store_true", help="get what is compared, and end")
    parser.add_argument("--peers-folder", default=str(TARGET / "peers"), help="where peers are installed")
    parser.add_argument("--data", help="where servers keep their data; default: under target/compare")
    parser.add_argument("--output", help="folder of the results; default: a new one under target/compare")
    parser.add_argument("--render", metavar="FOLDER", type=Path, help="write tables and plots of FOLDER again")
    arguments = parser.parse_args()
    if arguments.render:
        print(report.write(arguments.render, json.loads((arguments.render / "results.json").read_text())))
        return 0
    # So that servers are stopped when this is.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))
    run = Run(arguments)
    try:
        run.prepare()
        if arguments.install:
            return 0
        run.measure()
        run.trace()
    except Failure as failure:
        sys.exit(f"compare: {failure}")
    finally:
        shutil.rmtree(run.data, ignore_errors=True)
    print(run.write())
    say(f"written to {run.output}")
    wrong = report.different_work(run.results())
    failed = [sample for sample in run.samples if sample["peer"] == "ringcask" and "error" in sample]
    for sample in failed:
        say(f"failed at the node: {sample['load']}: {sample['error']}")
    return 1 if wrong or failed else 0


if __name__ == "__main__":
    sys.exit(main())
