"""minio-py: small, large and oddly named objects."""

import io
import os

from minio import Minio
from minio.commonconfig import CopySource
from minio.deleteobjects import DeleteObject

import objects
from objects import payload, same

# minio-py itself refuses names with a dot or two dots alone between slashes.
NAMES = [name for name in objects.ODD_NAMES if not {".", ".."} & set(name.split("/"))]


def main():
    client = Minio(
        endpoint=objects.HOST,
        access_key=objects.KEY,
        secret_key=objects.SECRET,
        secure=objects.IS_TLS,
        region=os.environ["AWS_REGION"],
    )
    client.make_bucket(bucket_name="minio-py")
    same("bucket", client.bucket_exists(bucket_name="minio-py"), True)
    for seed, name in enumerate(NAMES):
        body = payload(1000 + 40_000 * (seed % 3), seed)
        client.put_object(bucket_name="minio-py", object_name=name, data=io.BytesIO(body), length=len(body))
        answer = client.get_object(bucket_name="minio-py", object_name=name)
        same(f"name {name[:40]!r}", answer.read(), body)
        answer.close()
        answer.release_conn()
    listed = [entry.object_name for entry in client.list_objects(bucket_name="minio-py", recursive=True)]
    same("listing", listed, sorted(NAMES, key=lambda name: name.encode()))

    digest = objects.file_of("large", objects.LARGE)
    client.fput_object(bucket_name="minio-py", object_name="large file", file_path="large", part_size=16 << 20)
    client.fget_object(bucket_name="minio-py", object_name="large file", file_path="large.got")
    same("large", objects.sha256("large.got"), digest)
    source = CopySource(bucket_name="minio-py", object_name="large file")
    client.copy_object(bucket_name="minio-py", object_name="large copy", source=source)
    client.fget_object(bucket_name="minio-py", object_name="large copy", file_path="large.got")
    same("large, copied", objects.sha256("large.got"), digest)

    batch = [DeleteObject(name) for name in [*NAMES, "large file", "large copy"]]
    failures = list(client.remove_objects(bucket_name="minio-py", delete_object_list=batch))
    same("batched delete", failures, [])
    client.remove_bucket(bucket_name="minio-py")


main()
