//! The message of an event, in AWS's structure.
//!
//! Source: AWS, "Event message structure" (version 2.1) and "Event notification types and destinations".

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::engine::{Event, EventChange};
use crate::http::{date, percent};
use crate::io::TimestampMs;
use crate::s3::version;

/// What can be told of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventName {
    #[default]
    #[serde(rename = "ObjectCreated:Put")]
    ObjectCreatedPut,
    #[serde(rename = "ObjectCreated:Post")]
    ObjectCreatedPost,
    #[serde(rename = "ObjectCreated:Copy")]
    ObjectCreatedCopy,
    #[serde(rename = "ObjectCreated:CompleteMultipartUpload")]
    ObjectCreatedCompleteMultipartUpload,
    #[serde(rename = "ObjectRemoved:Delete")]
    ObjectRemovedDelete,
    #[serde(rename = "ObjectRemoved:DeleteMarkerCreated")]
    ObjectRemovedDeleteMarkerCreated,
    #[serde(rename = "LifecycleExpiration:Delete")]
    LifecycleExpirationDelete,
    #[serde(rename = "LifecycleExpiration:DeleteMarkerCreated")]
    LifecycleExpirationDeleteMarkerCreated,
    #[serde(rename = "ObjectTagging:Put")]
    ObjectTaggingPut,
    #[serde(rename = "ObjectTagging:Delete")]
    ObjectTaggingDelete,
    #[serde(rename = "ObjectAcl:Put")]
    ObjectAclPut,
}

impl EventName {
    /// As configurations name it; messages leave the `s3:` out.
    pub fn name(self) -> &'static str {
        match self {
            Self::ObjectCreatedPut => "s3:ObjectCreated:Put",
            Self::ObjectCreatedPost => "s3:ObjectCreated:Post",
            Self::ObjectCreatedCopy => "s3:ObjectCreated:Copy",
            Self::ObjectCreatedCompleteMultipartUpload => "s3:ObjectCreated:CompleteMultipartUpload",
            Self::ObjectRemovedDelete => "s3:ObjectRemoved:Delete",
            Self::ObjectRemovedDeleteMarkerCreated => "s3:ObjectRemoved:DeleteMarkerCreated",
            Self::LifecycleExpirationDelete => "s3:LifecycleExpiration:Delete",
            Self::LifecycleExpirationDeleteMarkerCreated => "s3:LifecycleExpiration:DeleteMarkerCreated",
            Self::ObjectTaggingPut => "s3:ObjectTagging:Put",
            Self::ObjectTaggingDelete => "s3:ObjectTagging:Delete",
            Self::ObjectAclPut => "s3:ObjectAcl:Put",
        }
    }

    /// The name that fits what was done: whether a deletion makes a delete marker is decided by the owner of the
    /// key, who may know of a change of versioning first.
    fn of_change(self, change: EventChange) -> Self {
        match (self, change) {
            (Self::ObjectRemovedDelete, EventChange::MarkerCreated) => Self::ObjectRemovedDeleteMarkerCreated,
            (Self::ObjectRemovedDeleteMarkerCreated, EventChange::Removed) => Self::ObjectRemovedDelete,
            (Self::LifecycleExpirationDelete, EventChange::MarkerCreated) => {
                Self::LifecycleExpirationDeleteMarkerCreated
            }
            (Self::LifecycleExpirationDeleteMarkerCreated, EventChange::Removed) => {
                Self::LifecycleExpirationDelete
            }
            (name, _) => name,
        }
    }

    /// Version of the message's structure. Source: AWS, "Event message structure".
    fn structure(self) -> &'static str {
        match self {
            Self::ObjectCreatedPut
            | Self::ObjectCreatedPost
            | Self::ObjectCreatedCopy
            | Self::ObjectCreatedCompleteMultipartUpload
            | Self::ObjectRemovedDelete
            | Self::ObjectRemovedDeleteMarkerCreated => "2.1",
            Self::LifecycleExpirationDelete
            | Self::LifecycleExpirationDeleteMarkerCreated
            | Self::ObjectTaggingPut
            | Self::ObjectTaggingDelete
            | Self::ObjectAclPut => "2.3",
        }
    }
}

/// What is known of an event when its change is asked for; the owner of the key adds version and time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draft {
    pub name: EventName,
    /// ARN of the target.
    pub target: String,
    /// `Id` of the configuration that asked for the event.
    pub configuration: String,
    pub region: String,
    pub bucket: String,
    /// Canonical id of the bucket's owner.
    pub bucket_owner: String,
    /// Who made the request: `AWS:` with the id of a user or an account.
    pub principal: String,
    pub source_ip: String,
    pub request_id: String,
    pub host_id: String,
    /// Length and ETag of an object that was made.
    pub about: Option<(u64, String)>,
}

impl Draft {
    /// As the engine keeps it.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and numbers are JSON")
    }

    /// Reads what [`encode`](Self::encode) wrote.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// The message for the target: a document with one record. Sequencers of one key compare as its changes were
    /// made.
    pub fn message(&self, event: &Event) -> Vec<u8> {
        let name = self.name.of_change(event.change);
        let mut object = json!({
            // As in a form: AWS encodes keys so.
            "key": percent::encode_path(&event.key).replace("%20", "+"),
            "sequencer": format!("{:016X}", event.id.sequence),
        });
        if let Some((bytes, etag)) = &self.about {
            object["size"] = json!(bytes);
            object["eTag"] = json!(etag);
        }
        if let Some(version) = event.version {
            object["versionId"] = json!(version::text(version));
        }
        let record = json!({
            "eventVersion": name.structure(),
            "eventSource": "aws:s3",
            "awsRegion": self.region,
            "eventTime": date::iso8601(event.id.time()),
            "eventName": name,
            "userIdentity": { "principalId": self.principal },
            "requestParameters": { "sourceIPAddress": self.source_ip },
            "responseElements": { "x-amz-request-id": self.request_id, "x-amz-id-2": self.host_id },
            "s3": {
                "s3SchemaVersion": "1.0",
                "configurationId": self.configuration,
                "bucket": {
                    "name": self.bucket,
                    "ownerIdentity": { "principalId": self.bucket_owner },
                    "arn": format!("arn:aws:s3:::{}", self.bucket),
                },
                "object": object,
            },
        });
        serde_json::to_vec(&json!({ "Records": [record] })).expect("strings and numbers are JSON")
    }
}

/// What targets are sent when a configuration is stored: AWS, "s3:TestEvent".
pub fn test_message(now: TimestampMs, bucket: &str, request_id: &str, host_id: &str) -> Vec<u8> {
    let message = json!({
        "Service": "Amazon S3",
        "Event": "s3:TestEvent",
        "Time": date::iso8601(now),
        "Bucket": bucket,
        "RequestId": request_id,
        "HostId": host_id,
    });
    serde_json::to_vec(&message).expect("strings and numbers are JSON")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{EventId, VersionId};

    fn draft() -> Draft {
        Draft {
            target: "hook".to_owned(),
            configuration: "all".to_owned(),
            region: "us-east-1".to_owned(),
            bucket: "b".to_owned(),
            bucket_owner: "owner".to_owned(),
            principal: "AWS:someone".to_owned(),
            source_ip: "127.0.0.1".to_owned(),
            request_id: "R".to_owned(),
            host_id: "H".to_owned(),
            about: Some((3, "etag".to_owned())),
            ..Draft::default()
        }
    }

    fn record(draft: &Draft, change: EventChange, sequence: u64) -> serde_json::Value {
        let event = Event {
            id: EventId { sequence, unique: 1 },
            bucket: 1,
            key: "a b/\u{20ac}+".as_bytes().to_vec(),
            change,
            version: (change == EventChange::MarkerCreated).then_some(VersionId::Null),
            body: draft.encode().into(),
        };
        let message: serde_json::Value = serde_json::from_slice(&draft.message(&event)).unwrap();
        message["Records"][0].clone()
    }

    #[test]
    fn a_message_has_the_structure_of_aws() {
        let record = record(&draft(), EventChange::Created, 1_700_000_000_123 << 16 | 5);
        assert_eq!(record["eventTime"], "2023-11-14T22:13:20.123Z");
        assert_eq!(
            (&record["eventName"], &record["eventVersion"]),
            (&json!("ObjectCreated:Put"), &json!("2.1"))
        );
        assert_eq!(record["s3"]["object"]["key"], "a+b/%E2%82%AC%2B");
        assert_eq!(record["s3"]["object"]["size"], 3);
        assert_eq!(record["s3"]["object"].get("versionId"), None);
        assert_eq!(record["s3"]["bucket"]["arn"], "arn:aws:s3:::b");
    }

    #[test]
    fn a_deletion_is_named_by_what_it_did() {
        let draft = Draft { name: EventName::ObjectRemovedDelete, about: None, ..draft() };
        let record = record(&draft, EventChange::MarkerCreated, 1 << 16);
        assert_eq!(record["eventName"], "ObjectRemoved:DeleteMarkerCreated");
        assert_eq!(record["s3"]["object"]["versionId"], "null");
        assert_eq!(record["s3"]["object"].get("size"), None);
    }

    #[test]
    fn later_changes_of_a_key_have_greater_sequencers() {
        let sequencer = |sequence| {
            let record = record(&draft(), EventChange::Created, sequence);
            record["s3"]["object"]["sequencer"].as_str().unwrap().to_owned()
        };
        assert!(sequencer(0xffff) < sequencer(0x1_0000) && sequencer(1 << 48) < sequencer(u64::MAX));
    }

    #[test]
    fn a_draft_survives_the_queue() {
        assert_eq!(Draft::decode(&draft().encode()), Some(draft()));
        assert_eq!(Draft::decode(b"{"), None);
    }
}
