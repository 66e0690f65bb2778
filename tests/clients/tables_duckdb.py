"""DuckDB with its httpfs extension: Parquet and CSV written and read, partitioned, by glob and by range."""

import os
import sys
from pathlib import Path

import duckdb

import objects
from objects import same

QUERIES = [
    "select count(*), sum(number), min(word), max(word) from read_parquet('{at}/whole.parquet')",
    "select * from read_parquet('{at}/whole.parquet') where number between 40000 and 40005 order by number",
    "select bucket, count(*), sum(number) from read_parquet('{at}/parts/*/*.parquet', hive_partitioning = true) "
    "group by bucket order by bucket",
    "select sum(number) from read_parquet('{at}/parts/bucket=3/*.parquet')",
    "select count(*), sum(number) from read_csv('{at}/whole.csv')",
    "select count(*) from glob('{at}/parts/**')",
]


def connect(venv):
    [extension] = Path(venv).glob("lib/python3*/site-packages/duckdb_extension_httpfs/**/httpfs.duckdb_extension")
    database = duckdb.connect(config={"extension_directory": os.getcwd()})
    database.execute(f"load '{extension}'")
    database.execute(
        f"create secret (type s3, key_id '{objects.KEY}', secret '{objects.SECRET}', endpoint '{objects.HOST}', "
        f"url_style 'path', use_ssl false, region '{os.environ['AWS_REGION']}')"
    )
    database.execute(
        "create table numbers as select number, number % 7 as bucket, md5(number::varchar) as word "
        "from range(200000) as numbers(number)"
    )
    return database


def write(database, at):
    database.execute(f"copy numbers to '{at}/whole.parquet' (format parquet, row_group_size 20000)")
    database.execute(f"copy numbers to '{at}/whole.csv' (format csv, header)")
    database.execute(f"copy numbers to '{at}/parts' (format parquet, partition_by (bucket))")


def main():
    database = connect(sys.argv[1])
    os.mkdir("duckdb")
    local, remote = "duckdb", "s3://tables/duckdb"
    write(database, local)
    write(database, remote)
    for query in QUERIES:
        expected = database.execute(query.format(at=local)).fetchall()
        same(query.format(at="…"), database.execute(query.format(at=remote)).fetchall(), expected)


main()
objects.leave()
