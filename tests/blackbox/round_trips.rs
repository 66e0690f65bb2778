//! Small, large and oddly named objects through the clients people use, compared byte for byte.

use crate::node::Node;
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
