//! Table engines: the same result from the node as from local files.

use std::path::Path;

use crate::node::Node;
use crate::tools;

fn same_as_local(script: &str) {
    let node = Node::start();
    node.client().put_bucket("tables");
    let extension = tools::folder().join("venv");
    println!("{}", tools::python(script, &[&extension.to_string_lossy()], &node));
}

#[test]
fn duckdb_reads_and_writes() {
    same_as_local("tables_duckdb.py");
}

#[test]
fn polars_reads_and_writes() {
    same_as_local("tables_polars.py");
}

#[test]
fn delta_tables_commit_with_conditional_puts() {
    same_as_local("tables_deltalake.py");
}

#[test]
fn iceberg_tables_read_and_write() {
    same_as_local("tables_pyiceberg.py");
}

/// Runs a script of `tests/clients/spark` where `RINGCASK_SPARK` names the folder that `tests/clients/spark/setup`
/// filled: it is more than a plain test run should fetch, and takes minutes.
fn by_spark(script: &str) {
    let Some(folder) = std::env::var_os("RINGCASK_SPARK") else {
        eprintln!("left out: RINGCASK_SPARK names no folder with Spark, see docs/TESTING.md");
        return;
    };
    let folder = Path::new(&folder).canonicalize().expect("RINGCASK_SPARK names a folder");
    let python = folder.join("venv/bin/python3");
    let node = Node::start();
    node.client().put_bucket("tables");
    let mut command = tools::command(&python.to_string_lossy(), &node);
    command.env("PYSPARK_PYTHON", &python);
    command.arg(tools::sources().join("spark").join(script)).arg(folder.join("jars"));
    println!("{}", tools::run(command));
}

#[test]
fn spark_commits_jobs_by_renames_and_by_uploads() {
    by_spark("committers.py");
}
