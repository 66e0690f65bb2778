//! Table engines: the same result from the node as from local files.

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
