//! The table of operations in `docs/S3.md` is the one that requests are routed by.

use ringcask::s3::route::{Level, Mark, Row, Support, TABLE};

const DOCUMENT: &str = include_str!("../docs/S3.md");

/// Heading of the table and of what follows it.
const HEADING: &str = "## Operations";

#[test]
fn the_documented_table_of_operations_is_the_routing_table() {
    let section = DOCUMENT.split_once(HEADING).expect("docs/S3.md has a section of operations").1;
    let section = section.split_once("\n## ").map_or(section, |(section, _)| section);
    let documented: Vec<&str> = section.lines().filter(|line| line.starts_with("| `")).collect();
    let routed: Vec<String> = TABLE.iter().map(line).collect();

    let missing: Vec<&str> =
        routed.iter().map(String::as_str).filter(|line| !documented.contains(line)).collect();
    let stale: Vec<&str> =
        documented.iter().copied().filter(|line| !routed.iter().any(|routed| routed == line)).collect();
    assert!(
        missing.is_empty() && stale.is_empty(),
        "docs/S3.md, section \"Operations\". Add these lines:\n{}\nand remove these:\n{}",
        missing.join("\n"),
        stale.join("\n")
    );
    assert_eq!(documented, routed, "docs/S3.md: keep the order of src/s3/route.rs");
}

/// A row as the document shows it.
fn line(row: &Row) -> String {
    let path = match row.level {
        Level::Service => "/",
        Level::Bucket => "/bucket",
        Level::Object => "/bucket/key",
    };
    let mut query = Vec::new();
    let mut headers = Vec::new();
    for mark in row.marks {
        match mark {
            Mark::Query(name) => query.push((*name).to_owned()),
            Mark::Value(name, value) => query.push(format!("{name}={value}")),
            Mark::Header(name) => headers.push(format!(" with `{name}`")),
        }
    }
    let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
    let support = match row.support {
        Support::Served => "yes",
        Support::Fixed => "fixed answer",
        Support::Absent => "501",
    };
    format!("| `{}` | `{} {path}{query}`{} | {support} |", row.operation.name(), row.method, headers.concat())
}
