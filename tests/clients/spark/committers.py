"""Spark's ways to commit a job over S3A: renames of the default committer, and S3A's own committers on multipart
uploads, which make nothing visible before the job ends. Each does the same to the node as to local files, also when
tasks fail and are tried again, and a job that fails leaves nothing behind.
"""

import json
import os
import shutil
import sys

from pyspark import TaskContext
from pyspark.sql import functions

import session
from session import BUCKET, keys, rows, seen, uploads

from objects import leave, same

# What Spark needs so that a job's output goes through S3A's committers.
CLOUD = {
    "spark.sql.sources.commitProtocolClass": "org.apache.spark.internal.io.cloud.PathOutputCommitProtocol",
    "spark.sql.parquet.output.committer.class": "org.apache.spark.internal.io.cloud.BindingParquetOutputCommitter",
}
ALGORITHM = "mapreduce.fileoutputcommitter.algorithm.version"
NAME = "fs.s3a.committer.name"
CONFLICT = "fs.s3a.committer.staging.conflict-mode"
COMMITTERS = {
    "file-1": {ALGORITHM: "1"},
    "file-2": {ALGORITHM: "2"},
    "directory": {NAME: "directory", CONFLICT: "append"},
    "partitioned": {NAME: "partitioned", CONFLICT: "append"},
    "magic": {NAME: "magic"},
}
CLOUD_COMMITTERS = [committer for committer, options in COMMITTERS.items() if NAME in options]
FORMATS = ["parquet", "orc", "json", "csv"]
ROWS = 60_000
# Rows for two files of more than one part each.
ROWS_LARGE = 200_000


def write(frame, options, mode="error", partitioned=False):
    writer = frame.write.options(**options).mode(mode)
    return writer.partitionBy("part") if partitioned else writer


def overwrite_partitions(frame, at, options):
    """Replaces the partitions that the frame has rows of, and leaves the others. Spark does so by renames; of S3A's
    committers one can do it, and takes an append for it."""
    if NAME in options:
        options = {**options, NAME: "partitioned", CONFLICT: "replace"}
        write(frame, options, "append", partitioned=True).parquet(at)
    else:
        options = {**options, "partitionOverwriteMode": "dynamic"}
        write(frame, options, "overwrite", partitioned=True).parquet(at)


def fails_first(frame):
    """The frame, whose second task fails at its first attempt, behind most of its rows."""

    @functions.udf("long")
    def checked(number):
        context = TaskContext.get()
        if context.partitionId() == 1 and context.attemptNumber() == 0 and number % 100_000 == ROWS - 10:
            raise RuntimeError("this attempt fails")
        return number

    return frame.withColumn("number", checked("number"))


def fails(frame):
    """The frame, whose second task fails always, behind most of its rows."""
    bad = functions.when(functions.col("number") % 100_000 == ROWS - 10, functions.raise_error(functions.lit("bad row")))
    return frame.withColumn("number", functions.coalesce(bad.cast("long"), functions.col("number")))


def work(spark, at, options):
    """Writes tables and gives all that is to be seen of them."""
    result = {}

    def note(what, frame):
        result[what] = seen(frame)

    plain = f"{at}/plain"
    write(rows(spark, 0, ROWS), options).parquet(plain)
    note("written", spark.read.parquet(plain))
    write(rows(spark, 100_000, ROWS), options, "append").parquet(plain)
    note("appended", spark.read.parquet(plain))
    write(rows(spark, 200_000, ROWS), options, "overwrite").parquet(plain)
    note("overwritten", spark.read.parquet(plain))
    write(fails_first(rows(spark, 0, ROWS)), options, "append").parquet(plain)
    note("an attempt failed", spark.read.parquet(plain))
    try:
        write(fails(rows(spark, 300_000, ROWS)), options, "append").parquet(plain)
        sys.exit("FAILED: a job that must fail has not")
    except Exception as error:
        result["a job failed"] = "bad row" in str(error), seen(spark.read.parquet(plain))
    try:
        write(rows(spark, 0, 10), options).parquet(plain)
        sys.exit("FAILED: a table that is there was made again")
    except Exception as error:
        result["made again"] = "PATH_ALREADY_EXISTS" in str(error)

    parted = f"{at}/parted"
    write(rows(spark, 0, ROWS), options, partitioned=True).parquet(parted)
    note("partitioned", spark.read.parquet(parted))
    write(rows(spark, 100_000, ROWS), options, "append", partitioned=True).parquet(parted)
    note("partitioned, appended", spark.read.parquet(parted))
    some = rows(spark, 200_000, ROWS).where("part in (1, 3)")
    overwrite_partitions(some, parted, options)
    note("partitions overwritten", spark.read.parquet(parted))
    note("one partition", spark.read.parquet(parted).where("part = 3"))

    for kind in FORMATS:
        write(rows(spark, 0, 5_000), options).format(kind).save(f"{at}/{kind}")
        note(kind, spark.read.format(kind).schema("number long, part int, word string").load(f"{at}/{kind}"))
    large = {**options, "compression": "none"}
    write(rows(spark, 0, ROWS_LARGE), large).parquet(f"{at}/large")
    note("large", spark.read.parquet(f"{at}/large"))
    return result


def check_what_is_left(folder, committer):
    """Nothing but the files of the tables, and these made as the committer makes them."""
    names = keys(f"{folder}/")
    temporary = [name for name in names if "/_temporary" in name or "/__magic" in name]
    same(f"{committer}: nothing temporary is left", temporary, [])
    same(f"{committer}: no upload is left", uploads(f"{folder}/"), [])
    s3 = session.client()
    large = [name for name in names if "/large/part" in name]
    parts = [s3.head_object(Bucket=BUCKET, Key=name)["ETag"].count("-") for name in large]
    same(f"{committer}: files in parts", parts, [1, 1])
    if committer in CLOUD_COMMITTERS:
        success = s3.get_object(Bucket=BUCKET, Key=f"{folder}/large/_SUCCESS")["Body"].read()
        same(f"{committer}: it was used", json.loads(success)["committer"], committer)


def main():
    jars, *committers = sys.argv[1:]
    spark = session.session(jars)
    local = f"{os.getcwd()}/local"
    shutil.rmtree(local, ignore_errors=True)
    expected = work(spark, f"file://{local}", {})
    for committer in committers or COMMITTERS:
        for name, value in CLOUD.items():
            if committer in CLOUD_COMMITTERS:
                spark.conf.set(name, value)
            else:
                spark.conf.unset(name)
        folder = f"committers/{committer}"
        have = work(spark, f"s3a://{BUCKET}/{folder}", COMMITTERS[committer])
        for what, value in expected.items():
            same(f"{committer}: {what}", have[what], value)
        check_what_is_left(folder, committer)


main()
leave()
