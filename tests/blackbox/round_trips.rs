//! Small, large and oddly named objects through the clients people use, compared byte for byte.

use crate::certificates::Authority;
use crate::node::{Node, Options};
use crate::tools;

fn round_trip(script: &str, arguments: &[&str]) {
    let node = Node::start();
    println!("{}", tools::python(script, arguments, &node));
}

#[test]
fn boto3_round_trips() {
    round_trip("round_trip_boto3.py", &[]);
}

#[test]
fn boto3_posts_forms() {
    round_trip("forms_boto3.py", &[]);
}

#[test]
fn boto3_changes_every_setting_of_a_bucket() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let file = folder.path().join("node.toml");
    std::fs::write(&file, "[[webhook]]\nname = 'main'\nurl = 'http://127.0.0.1:9/events'\n").unwrap();
    let file = file.to_str().unwrap().to_owned();
    let arguments = ["--config", &file, "--new-buckets", "acl"].map(str::to_owned).to_vec();
    let node = Node::start_with(Options { arguments, ..Options::default() });
    println!("{}", tools::python("settings_boto3.py", &["arn:ringcask:sqs:us-east-1:main:webhook"], &node));
}

#[test]
fn boto3_encrypts_and_nothing_lies_open_on_the_drive() {
    // Customers' keys go over TLS alone.
    let authority = Authority::new();
    let arguments = authority.issue("node").arguments();
    let options = Options { arguments, authority: Some(authority.bundle()), ..Options::default() };
    let node = Node::start_with(options);
    let folder = node.data(0);
    println!("{}", tools::python("encryption_boto3.py", &[folder.to_str().unwrap()], &node));
}

#[test]
fn boto3_names_tags_and_locks_versions() {
    round_trip("versions_boto3.py", &[]);
}

#[test]
fn awscli_round_trips() {
    round_trip("round_trip_awscli.py", &[]);
}

#[test]
fn s3cmd_round_trips_with_signature_version_4() {
    round_trip("round_trip_s3cmd.py", &["4"]);
}

#[test]
fn s3cmd_round_trips_with_signature_version_2() {
    round_trip("round_trip_s3cmd.py", &["2"]);
}

#[test]
fn s5cmd_round_trips() {
    round_trip("round_trip_s5cmd.py", &[]);
}

#[test]
fn rclone_round_trips() {
    round_trip("round_trip_rclone.py", &[]);
}

#[test]
fn minio_py_round_trips() {
    round_trip("round_trip_minio.py", &[]);
}

#[test]
fn mc_round_trips() {
    tools::programs();
    round_trip("round_trip_mc.py", &[]);
}
