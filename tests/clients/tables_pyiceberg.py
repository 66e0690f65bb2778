"""Iceberg tables through pyiceberg with a catalog in SQLite: append, overwrite, delete, evolve, scan."""

import os

import pyarrow
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.expressions import GreaterThan
from pyiceberg.types import LongType

import objects
from objects import same


def rows(first, count):
    numbers = list(range(first, first + count))
    return pyarrow.table({"number": numbers, "word": [f"word {number % 100}" for number in numbers]})


def work(name, warehouse):
    """Makes a table and gives all that is to be seen of it."""
    catalog = SqlCatalog(
        name,
        **{
            "uri": f"sqlite:///{os.getcwd()}/{name}.db",
            "warehouse": warehouse,
            "py-io-impl": "pyiceberg.io.pyarrow.PyArrowFileIO",
            "s3.endpoint": objects.ENDPOINT,
            "s3.access-key-id": objects.KEY,
            "s3.secret-access-key": objects.SECRET,
            "s3.region": os.environ["AWS_REGION"],
        },
    )
    catalog.create_namespace("space")
    table = catalog.create_table("space.numbers", schema=rows(0, 1).schema)
    table.append(rows(0, 50_000))
    first = table.current_snapshot().snapshot_id
    table.append(rows(100_000, 1_000))
    table.delete(GreaterThan("number", 100_500))
    with table.update_schema() as update:
        update.add_column("extra", LongType())
    table.overwrite(rows(7_000_000, 10).append_column("extra", pyarrow.array([1] * 10)), overwrite_filter="number < 100")
    table = catalog.load_table("space.numbers")
    return {
        "whole": table.scan().to_arrow().sort_by("number"),
        "filtered": table.scan(row_filter="number > 49990", selected_fields=("number",)).to_arrow().sort_by("number"),
        "first snapshot": table.scan(snapshot_id=first).to_arrow().sort_by("number"),
        "snapshots": len(table.metadata.snapshots),
    }


def main():
    local = work("local", f"file://{os.getcwd()}/warehouse")
    remote = work("remote", "s3://tables/warehouse")
    for what, expected in local.items():
        have = remote[what]
        if isinstance(expected, int):
            same(what, have, expected)
        else:
            same(f"{what}: {expected.num_rows} rows", have.equals(expected), True)


main()
objects.leave()
