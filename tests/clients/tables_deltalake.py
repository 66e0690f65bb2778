"""Delta tables: commits by conditional puts, also from writers that race, time travel, deletes, vacuum."""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import pyarrow
from deltalake import DeltaTable, write_deltalake

import objects
from objects import same

OPTIONS = {
    "aws_access_key_id": objects.KEY,
    "aws_secret_access_key": objects.SECRET,
    "aws_endpoint_url": objects.ENDPOINT,
    "aws_region": os.environ["AWS_REGION"],
    "aws_allow_http": "true",
    "aws_conditional_put": "etag",
}
WRITERS = 8


def rows(first, count):
    numbers = list(range(first, first + count))
    return pyarrow.table({"number": numbers, "word": [f"word {number % 100}" for number in numbers]})


def work(at, options):
    """Writes a table and gives all that is to be seen of it."""
    write_deltalake(at, rows(0, 50_000), storage_options=options)
    with ThreadPoolExecutor(WRITERS) as pool:
        for done in [
            pool.submit(write_deltalake, at, rows(100_000 * (1 + number), 1_000), mode="append", storage_options=options)
            for number in range(WRITERS)
        ]:
            done.result()
    table = DeltaTable(at, storage_options=options)
    table.delete("number < 10000")
    table.update(updates={"word": "'changed'"}, predicate="number = 20000")
    table.optimize.compact()
    table.create_checkpoint()
    write_deltalake(at, rows(5_000_000, 10), mode="append", storage_options=options)
    seen = {}
    for version in [0, WRITERS, None]:
        seen[version] = DeltaTable(at, version=version, storage_options=options).to_pyarrow_table().sort_by("number")
    table = DeltaTable(at, storage_options=options)
    table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    seen["after vacuum"] = DeltaTable(at, storage_options=options).to_pyarrow_table().sort_by("number")
    seen["versions"] = [entry["version"] for entry in table.history()]
    return seen


def main():
    shutil.rmtree("delta", ignore_errors=True)
    local = work("delta", None)
    remote = work("s3://tables/delta", OPTIONS)
    for what, expected in local.items():
        if isinstance(expected, list):
            same(what, remote[what], expected)
        else:
            same(f"version {what}: {expected.num_rows} rows", remote[what].equals(expected), True)


main()
objects.leave()
