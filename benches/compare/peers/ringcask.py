"""The node of this working tree."""

import os

from machine import free_port
from peers import ACCESS_KEY_ID, REGION, SECRET, Peer
from tools import version_of


class Ringcask(Peer):
    name = "ringcask"
    title = "ringcask"
    durability = "every write is answered when it is durable; there is no other setting"

    @classmethod
    def get(cls, tools):
        program = tools.find("ringcask")
        return cls(program, version_of(program, "--version"))

    def start(self, folder, cpus):
        port = free_port()
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RINGCASK_")}
        environment |= {"RINGCASK_ROOT_USER": ACCESS_KEY_ID, "RINGCASK_ROOT_PASSWORD": SECRET}
        command = [self.program, "--data", folder / "data", "--listen", f"127.0.0.1:{port}", "--region", REGION]
        command += ["--cores", str(len(cpus)), "--admin-listen", "off", "--log-level", "warn"]
        self.launch(folder, cpus, command, environment)
        self.serve(port)
