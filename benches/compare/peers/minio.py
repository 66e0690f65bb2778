"""MinIO: one server with one drive."""

import os

from machine import free_port
from peers import ACCESS_KEY_ID, REGION, SECRET, Peer
from tools import version_of


class Minio(Peer):
    name = "minio"
    title = "MinIO"
    durability = "O_DIRECT and fdatasync of data; no setting"

    @classmethod
    def get(cls, tools):
        program = tools.go("minio", "github.com/minio/minio@latest")
        return cls(program, version_of(program, "--version"))

    def start(self, folder, cpus):
        port, console = free_port(), free_port()
        data = folder / "data"
        data.mkdir(parents=True, exist_ok=True)
        environment = dict(
            os.environ, MINIO_ROOT_USER=ACCESS_KEY_ID, MINIO_ROOT_PASSWORD=SECRET, MINIO_REGION=REGION,
            MINIO_BROWSER="off", MINIO_UPDATE="off", MINIO_CALLHOME_ENABLE="off")
        command = [self.program, "server", "--address", f"127.0.0.1:{port}"]
        command += ["--console-address", f"127.0.0.1:{console}", "--quiet", data]
        self.launch(folder, cpus, command, environment)
        self.serve(port, "/minio/health/ready")
