"""Polars: Parquet written to and scanned from the node and a local folder, eagerly and lazily."""

import os

import polars

import objects
from objects import same

OPTIONS = {
    "aws_access_key_id": objects.KEY,
    "aws_secret_access_key": objects.SECRET,
    "aws_endpoint_url": objects.ENDPOINT,
    "aws_region": os.environ["AWS_REGION"],
    "aws_allow_http": "true",
}


def main():
    frame = polars.DataFrame(
        {
            "number": range(200_000),
            "group": [number % 7 for number in range(200_000)],
            "word": [f"word {number * 7919 % 1000}" for number in range(200_000)],
        }
    )
    os.mkdir("polars")
    frame.write_parquet("polars/whole.parquet", row_group_size=20_000)
    frame.write_parquet("s3://tables/polars/whole.parquet", row_group_size=20_000, storage_options=OPTIONS)
    for group in range(3):
        part = frame.filter(polars.col("group") == group)
        part.write_parquet(f"polars/part {group}.parquet")
        part.lazy().sink_parquet(f"s3://tables/polars/part {group}.parquet", storage_options=OPTIONS)
    same("eager read", polars.read_parquet("s3://tables/polars/whole.parquet", storage_options=OPTIONS).equals(frame), True)

    def query(scan):
        return (
            scan.filter(polars.col("number") > 150_000)
            .group_by("word")
            .agg(polars.col("number").sum(), polars.len().alias("count"))
            .sort("word")
            .collect()
        )

    local = query(polars.scan_parquet("polars/whole.parquet"))
    remote = query(polars.scan_parquet("s3://tables/polars/whole.parquet", storage_options=OPTIONS))
    same("lazy query", remote.equals(local), True)
    local = polars.scan_parquet("polars/part *.parquet").sort("number").collect()
    remote = polars.scan_parquet("s3://tables/polars/part *.parquet", storage_options=OPTIONS).sort("number").collect()
    same("glob", remote.equals(local), True)


main()
objects.leave()
