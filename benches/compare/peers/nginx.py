"""nginx: static files, put by its WebDAV module. It knows no S3: its GETs are the ceiling that others are held
against."""

import os

from machine import free_port
from peers import Peer
from tools import version_of

CONFIGURATION = """\
worker_processes {workers};
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    tcp_nodelay on;
    keepalive_requests 1000000000;
    client_max_body_size 0;
    client_body_temp_path {folder}/temporary/body;
    proxy_temp_path {folder}/temporary/proxy;
    fastcgi_temp_path {folder}/temporary/fastcgi;
    scgi_temp_path {folder}/temporary/scgi;
    uwsgi_temp_path {folder}/temporary/uwsgi;
    open_file_cache max=20000;
    server {{
        listen 127.0.0.1:{port};
        root {folder}/data;
        location / {{ dav_methods PUT DELETE; create_full_put_path on; }}
    }}
}}
"""


class Nginx(Peer):
    name = "nginx"
    title = "nginx (files)"
    durability = "writes stay in the page cache; no setting"
    etags_are_md5 = False
    is_file_server = True

    @classmethod
    def get(cls, tools):
        program = tools.debian("nginx", "nginx-light")
        return cls(program, version_of(program, "-v"))

    def start(self, folder, cpus):
        port = free_port()
        for name in ("data", "temporary"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        file = folder / "nginx.conf"
        file.write_text("user root;\n" * _is_root() + CONFIGURATION.format(
            folder=folder, port=port, workers=len(cpus)))
        self.launch(folder, cpus, [self.program, "-e", folder / "error.log", "-p", folder, "-c", file])
        self.serve(port)


def _is_root():
    """Else its workers would be a user that may not read the folder."""
    return os.geteuid() == 0
