//! From one store to another: the programs of `docs/moving/`, and rclone as `docs/MOVING.md` has it.

use crate::node::{Node, binary};
use crate::tools;

#[test]
fn buckets_with_all_versions_and_users_with_their_keys_move_to_another_node() {
    let (old, new) = (Node::start(), Node::start());
    let mut command = tools::command("python3", &old);
    let programs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/moving");
    command
        .arg(tools::sources().join("moving_boto3.py"))
        .arg(format!("http://{}", new.address()))
        .arg(format!("http://{}", new.admin()))
        .args([binary(), programs]);
    println!("{}", tools::run(command));
}

#[test]
fn rclone_moves_a_store_and_finds_what_differs() {
    let (old, new) = (Node::start(), Node::start());
    let mut source = old.client_with_bucket("photos");
    for number in 0..30 {
        let body = crate::content::payload(number, 1000 + 9000 * number as usize);
        source.put("photos", &format!("{number}/ä b"), &body).expect(200);
    }
    let rclone = |arguments: &[&str]| {
        let mut command = tools::command("rclone", &old);
        for (remote, node) in [("OLD", &old), ("NEW", &new)] {
            let settings = [
                ("TYPE", "s3".to_owned()),
                ("PROVIDER", "Other".to_owned()),
                ("ENDPOINT", format!("http://{}", node.address())),
                ("ACCESS_KEY_ID", node.credentials().access_key_id.clone()),
                ("SECRET_ACCESS_KEY", node.credentials().secret_key.clone()),
                ("REGION", "us-east-1".to_owned()),
            ];
            for (name, value) in settings {
                command.env(format!("RCLONE_CONFIG_{remote}_{name}"), value);
            }
        }
        command.args(arguments).output().unwrap()
    };
    let told = |output: std::process::Output| {
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (moved, errors) = told(rclone(&["sync", "--metadata", "old:", "new:"]));
    assert!(moved, "{errors}");
    let (is_equal, said) = told(rclone(&["check", "--download", "old:", "new:"]));
    assert!(is_equal && said.contains("30 matching files"), "{said}");
    // The same length, other bytes: what names and lengths do not show.
    let other = crate::content::payload(99, 1000 + 9000 * 7);
    new.client().put("photos", "7/ä b", &other).expect(200);
    let (is_equal, said) = told(rclone(&["check", "old:", "new:"]));
    assert!(!is_equal && said.contains("1 differences found"), "{said}");
}
