//! Buckets and their quotas: `ringcask bucket`, `ringcask quota`.

use clap::Subcommand;
use serde_json::{Value, json};

use super::show::{rows, table, text};
use super::text::{bytes, number, width};
use super::{Request, path};
use crate::control::bytes_size::BytesSize;

pub const EXAMPLES: &str = "\
Examples:
  ringcask quota set backups 500GiB     the bucket never holds more
  ringcask quota show backups
  ringcask quota clear backups          as much as there is room for

All versions count, and the parts of uploads that are not complete. What would
exceed the quota is refused with XMinioAdminBucketQuotaExceeded; deleting makes
room at once. A quota below what a bucket holds deletes nothing.";

#[derive(Subcommand, Debug)]
pub enum BucketCommand {
    /// Lists all buckets with what they hold and may hold
    List,
}

#[derive(Subcommand, Debug)]
pub enum QuotaCommand {
    /// Sets how many bytes a bucket may hold, which counts at once
    Set {
        bucket: String,
        /// A size like 500GiB
        size: BytesSize,
    },
    /// Shows what a bucket holds and may hold
    Show { bucket: String },
    /// Takes a bucket's quota away
    Clear { bucket: String },
}

pub fn bucket(command: &BucketCommand) -> Request {
    match command {
        BucketCommand::List => Request::new("GET", "buckets", show_list),
    }
}

pub fn quota(command: QuotaCommand) -> Request {
    match command {
        QuotaCommand::Set { bucket, size } => {
            Request::new("PUT", path(&["buckets", &bucket, "quota"]), show_one)
                .with(&json!({ "quotaBytes": size.0 }))
        }
        QuotaCommand::Show { bucket } => Request::new("GET", path(&["buckets", &bucket]), show_one),
        QuotaCommand::Clear { bucket } => {
            Request::new("DELETE", path(&["buckets", &bucket, "quota"]), show_one)
        }
    }
}

fn show_list(answer: &Value) -> String {
    table(&["BUCKET", "ACCOUNT", "OBJECTS", "HOLDS", "QUOTA"], rows(answer, "buckets"), |bucket| {
        vec![
            text(bucket, "name"),
            text(bucket, "account"),
            number(bucket["objects"].as_u64().unwrap_or(0)),
            bytes(bucket["heldBytes"].as_u64().unwrap_or(0)),
            bucket["quotaBytes"].as_u64().map(bytes).unwrap_or_default(),
        ]
    })
}

fn show_one(bucket: &Value) -> String {
    let sentence = sentence_about(bucket);
    match sentence.split_once(" holds ") {
        // The longest names leave no room beside them.
        Some((name, holds)) if sentence.chars().count() > width() => format!("{name}\n  holds {holds}\n"),
        _ => sentence + "\n",
    }
}

fn sentence_about(bucket: &Value) -> String {
    let name = text(bucket, "name");
    let held = bucket["heldBytes"].as_u64().unwrap_or(0);
    let Some(quota) = bucket["quotaBytes"].as_u64() else {
        return format!("{name} holds {} and has no quota", bytes(held));
    };
    let left = match quota.checked_sub(held) {
        Some(left) => format!("{} left", bytes(left)),
        None => format!("{} too much: nothing more is taken", bytes(held - quota)),
    };
    format!("{name} holds {} of {}, {left}", bytes(held), bytes(quota))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_shown_in_a_sentence() {
        let shown = |held: u64, quota: Option<u64>| {
            show_one(&json!({ "name": "b", "heldBytes": held, "quotaBytes": quota }))
        };
        assert_eq!(shown(2 << 20, None), "b holds 2.00 MiB and has no quota\n");
        assert_eq!(shown(2 << 20, Some(3 << 20)), "b holds 2.00 MiB of 3.00 MiB, 1.00 MiB left\n");
        let long = "b".repeat(63);
        let answer = json!({ "name": long, "heldBytes": 2 << 20, "quotaBytes": 3 << 20 });
        assert_eq!(show_one(&answer), format!("{long}\n  holds 2.00 MiB of 3.00 MiB, 1.00 MiB left\n"));
        let beyond = "b holds 2.00 MiB of 1.00 MiB, 1.00 MiB too much: nothing more is taken\n";
        assert_eq!(shown(2 << 20, Some(1 << 20)), beyond);
    }
}
