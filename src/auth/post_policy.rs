//! The policy of a posted form: what its signer allows a browser to send.
//!
//! Source: AWS, "POST policy" of the Amazon S3 API Reference (Browser-based uploads).

use std::ops::RangeInclusive;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::http::date;
use crate::http::form::Field;
use crate::io::TimestampMs;

/// A policy document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostPolicy {
    expiration: TimestampMs,
    conditions: Vec<Condition>,
    /// Bytes that the file may have.
    bytes: RangeInclusive<u64>,
}

/// What a field must hold. Names are in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Condition {
    Equals { name: String, value: String },
    StartsWith { name: String, prefix: String },
}

/// Why a form is refused by its policy. The texts are AWS's where AWS's are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicyError {
    /// The document is no policy: AWS's InvalidPolicyDocument.
    Document(String),
    /// The form is not what the policy allows: AWS's AccessDenied.
    Refused(String),
}

/// Fields that no policy needs to mention: they carry or prove the policy, or are ignored.
const UNCOVERED: [&str; 5] = ["awsaccesskeyid", "file", "policy", "signature", "x-amz-signature"];

/// Fields that begin so need no mention either. A checksum can only refuse an upload, never allow one.
const UNCOVERED_PREFIXES: [&str; 2] = ["x-amz-checksum-", "x-ignore-"];

impl PostPolicy {
    /// Reads the field `policy`: JSON in base64.
    pub fn parse(field: &str) -> Result<Self, PolicyError> {
        let json = STANDARD.decode(field).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let json = json.ok_or_else(|| document("Invalid Base64 Encoding."))?;
        let value: Value =
            serde_json::from_str(&without_dollar_escapes(&json)).map_err(|_| document("Invalid JSON."))?;
        let Value::Object(policy) = value else { return Err(document("Invalid JSON.")) };
        if let Some(name) = policy.keys().find(|name| !["expiration", "conditions"].contains(&name.as_str()))
        {
            return Err(document(&format!("Unexpected: '{name}'.")));
        }
        let expiration = match policy.get("expiration") {
            None => return Err(document("Policy missing expiration.")),
            Some(Value::String(text)) => moment(text),
            Some(_) => None,
        };
        let expiration = expiration.ok_or_else(|| document("Invalid 'expiration' value."))?;
        let mut read = Self { expiration, conditions: Vec::new(), bytes: 0..=u64::MAX };
        let Some(conditions) = policy.get("conditions") else {
            return Err(document("Policy missing conditions."));
        };
        let Value::Array(conditions) = conditions else {
            return Err(document("Invalid 'conditions' value: must be a List."));
        };
        conditions.iter().try_for_each(|condition| read.add(condition))?;
        Ok(read)
    }

    /// Bytes that the file may have (`content-length-range`).
    pub fn bytes(&self) -> &RangeInclusive<u64> {
        &self.bytes
    }

    /// Judges a form, of which `bucket` and `key` are what the request is about, whatever its fields say.
    pub fn check(
        &self,
        now: TimestampMs,
        bucket: &str,
        key: &str,
        fields: &[Field],
    ) -> Result<(), PolicyError> {
        if now > self.expiration {
            return Err(refused("Policy expired."));
        }
        let value = |name: &str| match name {
            "bucket" => bucket,
            "key" => key,
            _ => {
                let field = fields.iter().find(|field| field.name.eq_ignore_ascii_case(name));
                field.map_or("", |field| field.value.as_str())
            }
        };
        if let Some(failed) =
            self.conditions.iter().find(|condition| !condition.holds(value(condition.name())))
        {
            return Err(refused(&format!("Policy Condition failed: {failed}")));
        }
        let sent = fields.iter().map(|field| field.name.to_ascii_lowercase());
        let extra: Vec<String> = ["bucket".to_owned()]
            .into_iter()
            .chain(sent)
            .filter(|name| !is_uncovered(name) && !self.covers(name))
            .collect();
        if extra.is_empty() {
            Ok(())
        } else {
            Err(refused(&format!("Extra input fields: {}", extra.join(", "))))
        }
    }

    fn covers(&self, name: &str) -> bool {
        self.conditions.iter().any(|condition| condition.name() == name)
    }

    fn add(&mut self, condition: &Value) -> Result<(), PolicyError> {
        match condition {
            Value::Object(properties) => match properties.iter().collect::<Vec<_>>()[..] {
                [(name, Value::String(value))] => {
                    let (name, value) = (name.to_ascii_lowercase(), value.clone());
                    self.conditions.push(Condition::Equals { name, value });
                    Ok(())
                }
                [_] => Err(document("Invalid Simple-Condition: value must be a string.")),
                _ => Err(document(
                    "Invalid Simple-Condition: Simple-Conditions must have exactly one property specified.",
                )),
            },
            Value::Array(list) => self.add_list(list),
            _ => Err(document("Invalid Condition: must be an object or a list.")),
        }
    }

    fn add_list(&mut self, list: &[Value]) -> Result<(), PolicyError> {
        let operator = list.first().and_then(Value::as_str).unwrap_or_default().to_ascii_lowercase();
        let [_, first, second] = list else {
            return Err(document(&format!("{operator}: wrong number of arguments.")));
        };
        if operator == "content-length-range" {
            let (Some(least), Some(most)) = (number(first), number(second)) else {
                return Err(document("content-length-range: arguments must be numbers of bytes."));
            };
            self.bytes = least.max(*self.bytes.start())..=most.min(*self.bytes.end());
            return Ok(());
        }
        let (Some(name), Some(value)) = (first.as_str(), second.as_str()) else {
            return Err(document(&format!("{operator}: arguments must be strings.")));
        };
        let Some(name) = name.strip_prefix('$') else {
            return Err(document(&format!("{operator}: the name of a field begins with '$'.")));
        };
        let (name, value) = (name.to_ascii_lowercase(), value.to_owned());
        self.conditions.push(match operator.as_str() {
            "eq" => Condition::Equals { name, value },
            "starts-with" => Condition::StartsWith { name, prefix: value },
            _ => return Err(document(&format!("Unknown operation '{operator}'."))),
        });
        Ok(())
    }
}

impl Condition {
    fn name(&self) -> &str {
        match self {
            Self::Equals { name, .. } | Self::StartsWith { name, .. } => name,
        }
    }

    fn holds(&self, sent: &str) -> bool {
        match self {
            Self::Equals { value, .. } => sent == value,
            // A list of types, each of which must begin so.
            Self::StartsWith { name, prefix } if name == "content-type" => {
                sent.split(',').all(|kind| kind.trim_start().starts_with(prefix.as_str()))
            }
            Self::StartsWith { prefix, .. } => sent.starts_with(prefix.as_str()),
        }
    }
}

/// As a policy writes it.
impl std::fmt::Display for Condition {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (operator, name, value) = match self {
            Self::Equals { name, value } => ("eq", name, value),
            Self::StartsWith { name, prefix } => ("starts-with", name, prefix),
        };
        write!(out, "[\"{operator}\", \"${name}\", \"{value}\"]")
    }
}

fn is_uncovered(name: &str) -> bool {
    UNCOVERED.contains(&name) || UNCOVERED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// The moment of an `expiration`, which has a date and a time.
fn moment(text: &str) -> Option<TimestampMs> {
    date::parse_iso8601(text).filter(|_| text.contains('T'))
}

fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

/// AWS lets a policy write `\$` for a dollar sign, and `\v`, which JSON does not know.
fn without_dollar_escapes(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let mut characters = json.chars();
    while let Some(character) = characters.next() {
        match (character, characters.clone().next()) {
            ('\\', Some('$')) => {}
            ('\\', Some('v')) => {
                out.push_str("\\u000b");
                characters.next();
            }
            ('\\', Some(escaped)) => {
                out.extend(['\\', escaped]);
                characters.next();
            }
            _ => out.push(character),
        }
    }
    out
}

fn document(why: &str) -> PolicyError {
    PolicyError::Document(format!("Invalid Policy: {why}"))
}

fn refused(why: &str) -> PolicyError {
    PolicyError::Refused(format!("Invalid according to Policy: {why}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: TimestampMs = 1_700_000_000_000;

    fn policy(conditions: &str) -> Result<PostPolicy, PolicyError> {
        raw(&format!("{{\"expiration\": \"2030-01-01T00:00:00Z\", \"conditions\": [{conditions}]}}"))
    }

    fn raw(json: &str) -> Result<PostPolicy, PolicyError> {
        PostPolicy::parse(&STANDARD.encode(json))
    }

    /// The reason without the words that are always there.
    fn judged(conditions: &str, fields: &[(&str, &str)]) -> Result<(), String> {
        let conditions = format!("{{\"bucket\": \"b\"}}, {conditions}");
        let fields: Vec<Field> = fields
            .iter()
            .map(|(name, value)| Field { name: (*name).to_owned(), value: (*value).to_owned() })
            .collect();
        let key = fields.iter().find(|field| field.name == "key").map_or("", |field| &field.value);
        policy(&conditions).unwrap().check(NOW, "b", key, &fields).map_err(|error| match error {
            PolicyError::Refused(why) => why.replace("Invalid according to Policy: ", ""),
            PolicyError::Document(_) => panic!("it was read"),
        })
    }

    #[test]
    fn conditions_are_exact_or_about_the_beginning() {
        let conditions = r#"["eq", "$key", "a/b"], ["starts-with", "$x-amz-meta-n", "v"]"#;
        assert_eq!(judged(conditions, &[("key", "a/b"), ("x-amz-meta-n", "value")]), Ok(()));
        assert_eq!(
            judged(conditions, &[("key", "a/bc"), ("x-amz-meta-n", "value")]),
            Err("Policy Condition failed: [\"eq\", \"$key\", \"a/b\"]".to_owned())
        );
        assert_eq!(
            judged(conditions, &[("key", "a/b")]),
            Err("Policy Condition failed: [\"starts-with\", \"$x-amz-meta-n\", \"v\"]".to_owned())
        );
        assert_eq!(
            judged(r#"["starts-with", "$key", ""], ["starts-with", "$acl", ""]"#, &[("key", "k")]),
            Ok(())
        );
        assert!(judged(r#"{"key": "k"}, {"bucket": "other"}"#, &[("key", "k")]).is_err());
    }

    #[test]
    fn names_are_compared_without_regard_to_case() {
        let conditions = r#"["StArTs-WiTh", "$KeY", "foo"], {"AcL": "private"}"#;
        assert_eq!(judged(conditions, &[("key", "foo.txt"), ("aCl", "private")]), Ok(()));
    }

    #[test]
    fn every_field_must_be_covered_but_those_of_the_policy_itself() {
        let conditions = r#"{"key": "k"}"#;
        let uncovered = [
            ("key", "k"),
            ("AWSAccessKeyId", "x"),
            ("signature", "x"),
            ("POLICY", "x"),
            ("x-amz-signature", "x"),
            ("x-ignore-me", "x"),
            ("x-amz-checksum-sha256", "x"),
        ];
        assert_eq!(judged(conditions, &uncovered), Ok(()));
        let extra = [("key", "k"), ("X-Amz-Meta-A", "x"), ("tagging", "x")];
        assert_eq!(judged(conditions, &extra), Err("Extra input fields: x-amz-meta-a, tagging".to_owned()));
        let without_bucket = policy(conditions).unwrap();
        let key = [Field { name: "key".to_owned(), value: "k".to_owned() }];
        assert_eq!(without_bucket.check(NOW, "b", "k", &key), Err(refused("Extra input fields: bucket")));
    }

    #[test]
    fn a_list_of_types_must_begin_well_throughout() {
        let conditions = r#"["starts-with", "$Content-Type", "image/"]"#;
        assert_eq!(judged(conditions, &[("Content-Type", "image/png,image/gif, image/jpeg")]), Ok(()));
        assert!(judged(conditions, &[("Content-Type", "image/png,text/html")]).is_err());
        assert!(judged(r#"["starts-with", "$Content-Type", "image/"]"#, &[]).is_err());
    }

    #[test]
    fn a_policy_ends() {
        let policy = raw(r#"{"expiration": "2023-11-14T22:13:20.000Z", "conditions": [{"bucket": "b"}]}"#);
        let policy = policy.unwrap();
        assert_eq!(policy.check(NOW, "b", "k", &[]), Ok(()));
        assert_eq!(policy.check(NOW + 1, "b", "k", &[]), Err(refused("Policy expired.")));
    }

    #[test]
    fn lengths_are_bounded() {
        assert_eq!(policy("").unwrap().bytes(), &(0..=u64::MAX));
        assert_eq!(policy(r#"["content-length-range", 1, "1024"]"#).unwrap().bytes(), &(1..=1024));
        let twice = r#"["content-length-range", 1, 9], ["Content-Length-Range", 0, 5]"#;
        assert_eq!(policy(twice).unwrap().bytes(), &(1..=5));
    }

    #[test]
    fn escapes_that_json_does_not_know_are_read() {
        let fields = [("key", "$a\u{b}\\$")];
        assert_eq!(judged(r#"{"key": "\$a\v\\$"}"#, &fields), Ok(()));
    }

    #[test]
    fn what_is_no_policy_is_refused() {
        for conditions in [
            "{}",
            r#"{"a": "b", "c": "d"}"#,
            r#"{"a": 1}"#,
            "1",
            "[]",
            r#"["eq", "$a"]"#,
            r#"["eq", "a", "b"]"#,
            r#"["eq", "$a", 1]"#,
            r#"["ends-with", "$a", "b"]"#,
            r#"["content-length-range", 0]"#,
            r#"["content-length-range", -1, 0]"#,
            r#"["content-length-range", 0, 1.5]"#,
        ] {
            assert!(matches!(policy(conditions), Err(PolicyError::Document(_))), "{conditions}");
        }
        for json in [
            "",
            "[]",
            "{",
            r#"{"expiration": "2030-01-01T00:00:00Z"}"#,
            r#"{"conditions": []}"#,
            r#"{"EXPIRATION": "2030-01-01T00:00:00Z", "conditions": []}"#,
            r#"{"expiration": "2030-01-01T00:00:00Z", "CONDITIONS": []}"#,
            r#"{"expiration": "2030-01-01 00:00:00+00:00", "conditions": []}"#,
            r#"{"expiration": "tomorrow", "conditions": []}"#,
            r#"{"expiration": 1, "conditions": []}"#,
            r#"{"expiration": "2030-01-01T00:00:00Z", "conditions": {}}"#,
        ] {
            assert!(matches!(raw(json), Err(PolicyError::Document(_))), "{json}");
        }
        assert!(PostPolicy::parse("no base64!").is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_judged_without_panic(text in "[\\[{}\\]\\\\\"$:,a-z0-9 ]{0,80}") {
            let _ = raw(&text);
            let _ = policy(&text);
            let _ = PostPolicy::parse(&text);
        }
    }
}
