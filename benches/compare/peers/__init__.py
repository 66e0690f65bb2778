"""Who is compared: a file for each, which says how it is got and started, and what makes its writes durable."""

from machine import Failure, Process

ACCESS_KEY_ID = "GK000102030405060708090a0b"
SECRET = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
REGION = "us-east-1"


class Peer:
    """A server as it is shipped, or with its own setting for durable writes.

    `name` stands in tables; `durability` says what its documentation promises. The credentials have the form that
    Garage wants; the others take any.
    """

    name = ""
    title = ""
    durability = ""
    # Whether an object's `ETag` is the MD5 of what was put, as at AWS.
    etags_are_md5 = True
    # Whether it is a web server that serves files, and no S3.
    is_file_server = False

    def __init__(self, program, version):
        self.program, self.version = program, version
        self.process, self.address = None, None

    @classmethod
    def get(cls, tools):
        """Finds or installs it."""
        raise NotImplementedError

    def start(self, folder, cpus):
        """Starts it on a folder for its data, which may hold what an earlier start left, and waits until it serves."""
        raise NotImplementedError

    def stop(self):
        if self.process:
            self.process.stop()
        self.process = None

    def launch(self, folder, cpus, command, environment=None):
        """Starts the server's process; it logs to a file beside its data."""
        folder.mkdir(parents=True, exist_ok=True)
        self.process = Process(command, cpus, folder / "server.log", environment, folder)

    def serve(self, port, path="/"):
        """Waits until it answers on a port."""
        self.address = f"127.0.0.1:{port}"
        self.process.wait_for(self.address, path)


def all_peers():
    """The classes, in the order of the tables."""
    from peers import garage, juicefs, minio, nginx, ringcask, s3s_fs, seaweedfs

    return [
        ringcask.Ringcask,
        seaweedfs.Seaweedfs, seaweedfs.SeaweedfsFsync,
        garage.Garage, garage.GarageFsync,
        minio.Minio,
        s3s_fs.S3sFs,
        juicefs.Juicefs,
        nginx.Nginx,
    ]


__all__ = ["ACCESS_KEY_ID", "Failure", "Peer", "REGION", "SECRET", "all_peers"]
