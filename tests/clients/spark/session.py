"""A session of Spark on the node, and what its scripts compare."""

import os
import sys
from pathlib import Path

import boto3
from pyspark.sql import SparkSession, functions

# The scripts of all clients share one way to say what the node is and whether two things are the same.
sys.path.append(str(Path(__file__).resolve().parents[1]))

import objects  # noqa: E402

BUCKET = "tables"
# Small parts, so that files of a few megabytes are uploads in parts.
PART_BYTES = 5 << 20


def session(jars, **settings):
    """A session with two tasks at a time, each tried three times; `settings` stand for dots with `__`."""
    builder = SparkSession.builder.master("local[2,3]").appName("ringcask")
    defaults = {
        "spark.driver.memory": "1500m",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.shuffle.partitions": "4",
        "spark.jars": ",".join(str(jar) for jar in sorted(Path(jars).glob("*.jar"))),
        "spark.hadoop.fs.s3a.endpoint": objects.ENDPOINT,
        "spark.hadoop.fs.s3a.endpoint.region": os.environ["AWS_REGION"],
        "spark.hadoop.fs.s3a.path.style.access": "true",
        "spark.hadoop.fs.s3a.access.key": objects.KEY,
        "spark.hadoop.fs.s3a.secret.key": objects.SECRET,
        "spark.hadoop.fs.s3a.multipart.size": str(PART_BYTES),
        "spark.hadoop.fs.s3a.multipart.threshold": str(PART_BYTES),
        "spark.hadoop.fs.s3a.attempts.maximum": "1",
    }
    for name, value in {**defaults, **settings}.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel(os.environ.get("SPARK_LOG_LEVEL", "OFF"))
    return spark


def client():
    """boto3 with the node of the environment."""
    return boto3.client("s3", endpoint_url=objects.ENDPOINT)


def keys(prefix):
    """The keys below a prefix."""
    pages = client().get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
    return [entry["Key"] for page in pages for entry in page.get("Contents", [])]


def uploads(prefix):
    """The unfinished multipart uploads below a prefix."""
    answer = client().list_multipart_uploads(Bucket=BUCKET, Prefix=prefix)
    return [upload["Key"] for upload in answer.get("Uploads", [])]


def rows(spark, first, count, partitions=2):
    """`count` rows with numbers from `first` on, in two tasks; a row is about a hundred bytes that don't compress."""
    numbers = spark.range(first, first + count, 1, partitions)
    return numbers.select(
        functions.col("id").alias("number"),
        (functions.col("id") % 5).cast("int").alias("part"),
        functions.sha2(functions.col("id").cast("string"), 384).alias("word"),
    )


def seen(frame):
    """What identifies the rows of a frame, whatever their order: their number and sums of two hashes over them."""
    columns = sorted(frame.columns)
    hashes = frame.select(
        functions.xxhash64(*columns).cast("decimal(38,0)").alias("wide"),
        functions.hash(*columns).cast("decimal(38,0)").alias("narrow"),
    )
    return tuple(hashes.agg(functions.count("*"), functions.sum("wide"), functions.sum("narrow")).collect()[0])
