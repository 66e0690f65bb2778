"""s3s-fs: the experimental server of the s3s crate, on a folder of files."""

from machine import free_port
from peers import ACCESS_KEY_ID, SECRET, Peer
from tools import version_of


# The last that Rust 1.95 compiles.
PACKAGE = "s3s-fs@0.14.1"


class S3sFs(Peer):
    name = "s3s-fs"
    title = "s3s-fs"
    durability = "writes stay in the page cache; no setting"
    etags_are_md5 = False

    @classmethod
    def get(cls, tools):
        program = tools.cargo("s3s-fs", PACKAGE, "--features", "binary", "--locked")
        return cls(program, version_of(program, "--version"))

    def start(self, folder, cpus):
        port, data = free_port(), folder / "data"
        data.mkdir(parents=True, exist_ok=True)
        command = [self.program, "--host", "127.0.0.1", "--port", str(port)]
        command += ["--access-key", ACCESS_KEY_ID, "--secret-key", SECRET, data]
        self.launch(folder, cpus, command)
        self.serve(port)
