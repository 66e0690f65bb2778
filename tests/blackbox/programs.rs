//! Load generators and conformance suites of others: they must report nothing.

use crate::certificates::Authority;
use crate::node::{Node, Options};
use crate::tools;

/// MinIO's Go client the way the warp benchmark uses it: put, get, delete, list, stat, mixed, multipart,
/// multipart-put, in its default payload mode over http, every body compared.
#[test]
fn a_load_generator_meets_no_errors() {
    let node = Node::start();
    for size in ["10000", "1000000"] {
        let mut command = tools::command("load", &node);
        command.args(["-seconds", "3", "-size", size]);
        println!("{}", tools::run(command));
    }
    let mut command = tools::command("load", &node);
    command.args(["-seconds", "3", "-size", "50000000", "put", "get"]);
    println!("{}", tools::run(command));
}

/// The warp benchmark itself, a moment of each kind, with the checksums that it knows.
#[test]
fn warp_meets_no_errors_over_https() {
    tools::programs();
    let authority = Authority::new();
    let arguments = authority.issue("node").arguments();
    let options = Options { arguments, authority: Some(authority.bundle()), ..Options::default() };
    let node = Node::start_with(options);
    for (kind, arguments) in [
        ("put", &["--obj.size=300KiB", "--checksum=CRC64NVME"][..]),
        ("put", &["--obj.size=10KiB", "--md5"]),
        ("get", &["--obj.size=100KiB", "--objects=60", "--range"]),
        ("mixed", &["--obj.size=100KiB", "--objects=60"]),
        ("list", &["--obj.size=1KiB", "--objects=200"]),
        ("delete", &["--obj.size=1KiB", "--objects=160", "--batch=10"]),
        ("versioned", &["--obj.size=10KiB", "--objects=60"]),
        ("retention", &["--obj.size=1KiB", "--objects=20"]),
        ("multipart", &["--parts=4", "--part.size=5MiB"]),
        ("multipart-put", &["--parts=2", "--part.concurrent=2", "--part.size=5MiB"]),
    ] {
        let mut command = tools::command("warp", &node);
        command.env("WARP_HOST", node.address().to_string());
        command.env("WARP_ACCESS_KEY", &node.credentials().access_key_id);
        command.env("WARP_SECRET_KEY", &node.credentials().secret_key);
        command.arg(kind).args(["--tls", "--no-color", "--duration=1s", "--concurrent=4"]).args(arguments);
        command.args(["--benchdata=data", "--bucket", &format!("warp-{kind}")]);
        let text = tools::run(command);
        // Errors of single requests do not end it.
        assert!(!text.contains("<ERROR>") && !text.contains("Errors:"), "{kind}: {text}");
        println!("{kind}: {text}");
    }
}

#[test]
fn juicefs_objbench_finds_no_functional_failure() {
    let node = Node::start();
    node.client().put_bucket("juicefs");
    let mut command = tools::command("juicefs", &node);
    command.args(["objbench", "--storage", "s3"]).args([
        "--access-key",
        &node.credentials().access_key_id,
        "--secret-key",
        &node.credentials().secret_key,
    ]);
    command.args(["--big-object-size", "32", "--small-objects", "20", "--threads", "4", "--debug"]);
    command.arg(format!("http://{}/juicefs", node.address()));
    let text = tools::run(command);
    println!("{text}");
    // Rows of the first table: category, test, result.
    let rows: Vec<Vec<&str>> = text
        .lines()
        .filter(|line| line.starts_with("|    basic |") || line.starts_with("|     sync |"))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    assert!(rows.len() >= 16, "only {} functional tests", rows.len());
    for row in rows {
        let (test, result) = (row[1], row[2]);
        // It would like an empty body for a range behind the end, and warns of S3's own answer.
        let is_warning_of_416 = test == "get partial object"
            && result.starts_with("failed to get object with the offset out of")
            && text.contains("StatusCode: 416")
            && text.contains("api error InvalidRange");
        assert!(["pass", "not support"].contains(&result) || is_warning_of_416, "{test}: {result}\n{text}");
    }
}

/// The suite that the `object_store` crate offers to implementations, run through its S3 client.
#[test]
fn the_object_store_crates_integration_suite_passes() {
    let node = Node::start();
    node.client().put_bucket("object-store");
    let package = tools::sources().join("object_store");
    let mut command = tools::command("cargo", &node);
    command
        .current_dir(&package)
        .args(["run", "--locked", "--quiet", "--target-dir"])
        .arg(tools::folder().join("object_store"))
        .env_remove("CARGO_TARGET_DIR");
    if let Some(home) = std::env::var_os("HOME") {
        command.env("HOME", home);
    }
    println!("{}", tools::run(command));
}
