"""Garage: one node with one copy of everything, metadata in LMDB."""

import secrets

from machine import Failure, free_port, run
from peers import ACCESS_KEY_ID, REGION, SECRET, Peer
from tools import version_of

CONFIGURATION = """\
metadata_dir = "{folder}/meta"
data_dir = "{folder}/data"
db_engine = "lmdb"
metadata_fsync = {fsync}
data_fsync = {fsync}
replication_factor = 1
rpc_bind_addr = "127.0.0.1:{rpc}"
rpc_public_addr = "127.0.0.1:{rpc}"
rpc_secret = "{secret}"
[s3_api]
s3_region = "{region}"
api_bind_addr = "127.0.0.1:{api}"
"""


class Garage(Peer):
    name = "garage"
    title = "Garage"
    durability = "writes stay in the page cache (`metadata_fsync` and `data_fsync` are off)"
    fsync = "false"

    @classmethod
    def get(cls, tools):
        program = tools.cargo("garage", "garage", "--locked")
        return cls(program, version_of(program, "--version"))

    def start(self, folder, cpus):
        folder.mkdir(parents=True, exist_ok=True)
        api, rpc = free_port(), free_port()
        file = folder / "garage.toml"
        # Nodes of a cluster know each other by a secret; it must stay the same on the same data.
        secret, is_configured = folder / "secret", folder / "configured"
        if not secret.exists():
            secret.write_text(secrets.token_hex(32))
        file.write_text(CONFIGURATION.format(
            folder=folder, fsync=self.fsync, rpc=rpc, api=api, secret=secret.read_text(), region=REGION))
        command = [self.program, "-c", file]
        self.launch(folder, cpus, [*command, "server"])
        self.serve(api)
        if not is_configured.exists():
            node = run([*command, "node", "id", "-q"], seconds=30).strip().splitlines()[-1].split("@")[0]
            if len(node) != 64:
                raise Failure(f"garage node id: {node}")
            for step in (
                ["layout", "assign", "-z", "here", "-c", "100G", node],
                ["layout", "apply", "--version", "1"],
                ["key", "import", "--yes", ACCESS_KEY_ID, SECRET],
                ["key", "allow", "--create-bucket", ACCESS_KEY_ID],
            ):
                run([*command, *step], seconds=30)
            is_configured.touch()


class GarageFsync(Garage):
    name = "garage-fsync"
    title = "Garage, fsync"
    durability = "`metadata_fsync = true`, `data_fsync = true`"
    fsync = "true"
