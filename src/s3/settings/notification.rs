//! `NotificationConfiguration`: of which events of a bucket somebody wants to hear, and who.
//!
//! Source: AWS, PutBucketNotificationConfiguration, "Event notification types and destinations" and
//! "Configuring event notifications using object key name filtering".

use std::collections::BTreeSet;

use super::document::{Document, Fields, malformed, text};
use crate::base::limits::{NOTIFICATIONS_MAX, SETTING_ID_CHARACTERS_MAX};
use crate::hash;
use crate::s3::error::{Code, S3Error};
use crate::s3::xml::{Element, XmlWriter};

/// The configurations of a bucket. They do not overlap: an event goes to one target at most.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notification {
    pub configurations: Vec<NotificationRule>,
}

/// Events of some keys, and where they go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotificationRule {
    pub id: String,
    kind: TargetKind,
    /// ARN of the target.
    pub arn: String,
    /// As `s3:ObjectCreated:*` or `s3:ObjectCreated:Put`.
    events: Vec<&'static str>,
    prefix: Option<String>,
    suffix: Option<String>,
}

/// By which element a target is named. All stand for the same kind of target here; what a client reads is
/// what it wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TargetKind {
    Topic,
    Queue,
    Function,
}

impl TargetKind {
    const ALL: [Self; 3] = [Self::Topic, Self::Queue, Self::Function];

    /// The element of a configuration, and the one within that names the target.
    fn elements(self) -> (&'static str, &'static str) {
        match self {
            Self::Topic => ("TopicConfiguration", "Topic"),
            Self::Queue => ("QueueConfiguration", "Queue"),
            Self::Function => ("CloudFunctionConfiguration", "CloudFunction"),
        }
    }
}

/// The events that can be asked for. A name that ends with `*` stands for those that begin so.
const EVENTS: &[&str] = &[
    "s3:ObjectCreated:*",
    "s3:ObjectCreated:Put",
    "s3:ObjectCreated:Post",
    "s3:ObjectCreated:Copy",
    "s3:ObjectCreated:CompleteMultipartUpload",
    "s3:ObjectRemoved:*",
    "s3:ObjectRemoved:Delete",
    "s3:ObjectRemoved:DeleteMarkerCreated",
    "s3:ObjectTagging:*",
    "s3:ObjectTagging:Put",
    "s3:ObjectTagging:Delete",
    "s3:ObjectAcl:Put",
    "s3:LifecycleExpiration:*",
    "s3:LifecycleExpiration:Delete",
    "s3:LifecycleExpiration:DeleteMarkerCreated",
];

/// Events of AWS that cannot happen here: nobody would ever hear of them.
const EVENTS_FOREIGN: &[&str] = &[
    "s3:TestEvent",
    "s3:ReducedRedundancyLostObject",
    "s3:ObjectRestore:*",
    "s3:ObjectRestore:Post",
    "s3:ObjectRestore:Completed",
    "s3:ObjectRestore:Delete",
    "s3:Replication:*",
    "s3:Replication:OperationFailedReplication",
    "s3:Replication:OperationMissedThreshold",
    "s3:Replication:OperationReplicatedAfterThreshold",
    "s3:Replication:OperationNotTracked",
    "s3:LifecycleTransition",
    "s3:IntelligentTiering",
];

impl Notification {
    /// The configuration that wants to hear of an event, such as `s3:ObjectCreated:Put`, of a key.
    pub fn matches(&self, event: &str, key: &str) -> Option<&NotificationRule> {
        self.configurations.iter().find(|rule| rule.matches(event, key))
    }

    /// Refuses targets that the node does not have.
    pub fn check_targets<'a>(&self, targets: impl Iterator<Item = &'a str>) -> Result<(), S3Error> {
        let known: BTreeSet<&str> = targets.collect();
        match self.configurations.iter().find(|rule| !known.contains(rule.arn.as_str())) {
            None => Ok(()),
            Some(rule) => Err(S3Error::invalid_argument(
                "Unable to validate the following destination configurations",
                &rule.arn,
                "The destination does not exist: the node's settings declare no target of this ARN.",
            )),
        }
    }

    /// Refuses two configurations that would both hear of the same event.
    fn check_overlaps(&self) -> Result<(), S3Error> {
        for (index, rule) in self.configurations.iter().enumerate() {
            for other in &self.configurations[..index] {
                if let Some((first, second)) = other.overlap(rule) {
                    let is_filtered =
                        [rule, other].iter().any(|rule| rule.prefix.is_some() || rule.suffix.is_some());
                    let message = match is_filtered {
                        true => {
                            "Configuration is ambiguously defined. Cannot have overlapping suffixes in two \
                             rules if the prefixes are overlapping for the same event type."
                        }
                        false => {
                            "Configurations overlap. Configurations on the same bucket cannot share a common \
                             event type."
                        }
                    };
                    return Err(S3Error::invalid_argument(message, "Event", format!("{first}, {second}")));
                }
            }
        }
        Ok(())
    }
}

impl NotificationRule {
    fn matches(&self, event: &str, key: &str) -> bool {
        self.events.iter().any(|asked| covers(asked, event))
            && key.starts_with(self.prefix.as_deref().unwrap_or_default())
            && key.ends_with(self.suffix.as_deref().unwrap_or_default())
    }

    /// Two names of events by which both would hear of the same.
    fn overlap(&self, other: &Self) -> Option<(&'static str, &'static str)> {
        fn text(part: &Option<String>) -> &str {
            part.as_deref().unwrap_or_default()
        }
        let (prefix, prefix_other) = (text(&self.prefix), text(&other.prefix));
        let (suffix, suffix_other) = (text(&self.suffix), text(&other.suffix));
        let keys_overlap = (prefix.starts_with(prefix_other) || prefix_other.starts_with(prefix))
            && (suffix.ends_with(suffix_other) || suffix_other.ends_with(suffix));
        let pairs = self.events.iter().flat_map(|one| other.events.iter().map(move |two| (*one, *two)));
        let mut shared = pairs.filter(|(one, two)| covers(one, two) || covers(two, one));
        shared.next().filter(|_| keys_overlap)
    }

    fn read(element: &Element, kind: TargetKind) -> Result<Self, S3Error> {
        let (_, target) = kind.elements();
        let fields = Fields::of(element, &["Id", target, "Event", "Filter"])?;
        let arn = text(fields.required(target)?)?.trim().to_owned();
        if arn.split(':').count() < 6 || !arn.starts_with("arn:") {
            return Err(S3Error::invalid_argument("The ARN is not well formed", target, arn));
        }
        let mut events = Vec::new();
        for event in fields.all("Event") {
            let event = known(text(event)?)?;
            // Named twice, it is heard of once. So there are never more than there are names, of which every
            // configuration is compared with every other's.
            if !events.contains(&event) {
                events.push(event);
            }
        }
        if events.is_empty() {
            return Err(malformed());
        }
        let (prefix, suffix) = match fields.once("Filter")? {
            Some(filter) => key_filter(filter)?,
            None => (None, None),
        };
        let id = fields.text("Id")?.filter(|id| !id.is_empty()).map(str::to_owned);
        let mut rule = Self { id: String::new(), kind, arn, events, prefix, suffix };
        rule.id = id.unwrap_or_else(|| rule.id_made());
        if rule.id.chars().count() > SETTING_ID_CHARACTERS_MAX {
            let message = format!("Id length should not exceed allowed limit of {SETTING_ID_CHARACTERS_MAX}");
            return Err(S3Error::invalid_argument(message, "Id", rule.id));
        }
        Ok(rule)
    }

    /// An id for a configuration that came without: derived from what it says, so that it stays.
    fn id_made(&self) -> String {
        let mut xml = XmlWriter::document_plain("Rule");
        self.write(&mut xml);
        hash::base64_encode(&hash::md5(&xml.finish()))
    }

    fn write(&self, xml: &mut XmlWriter) {
        let (element, target) = self.kind.elements();
        xml.open(element);
        xml.text("Id", &self.id);
        xml.text(target, &self.arn);
        for event in &self.events {
            xml.text("Event", event);
        }
        let filters = [("prefix", &self.prefix), ("suffix", &self.suffix)];
        if filters.iter().any(|(_, value)| value.is_some()) {
            xml.open("Filter");
            xml.open("S3Key");
            for (name, value) in filters {
                let Some(value) = value else { continue };
                xml.open("FilterRule");
                xml.text("Name", name);
                xml.text("Value", value);
                xml.close();
            }
            xml.close();
            xml.close();
        }
        xml.close();
    }
}

/// Whether who asks for `asked` hears of `event`.
fn covers(asked: &str, event: &str) -> bool {
    match asked.strip_suffix('*') {
        Some(start) => event.starts_with(start),
        None => asked == event,
    }
}

fn known(event: &str) -> Result<&'static str, S3Error> {
    if let Some(known) = EVENTS.iter().find(|known| **known == event) {
        return Ok(known);
    }
    if EVENTS_FOREIGN.contains(&event) {
        let message =
            format!("The event {event} does not happen here: nothing is stored that has no effect.");
        return Err(S3Error::new(Code::NotImplemented).with_message(message).with_field("Header", event));
    }
    Err(S3Error::invalid_argument("A specified event is not supported for notifications.", "Event", event))
}

/// Prefix and suffix of `Filter`.
fn key_filter(filter: &Element) -> Result<(Option<String>, Option<String>), S3Error> {
    let (mut prefix, mut suffix) = (None, None);
    let Some(keys) = Fields::of(filter, &["S3Key"])?.once("S3Key")? else { return Ok((None, None)) };
    for rule in Fields::of(keys, &["FilterRule"])?.all("FilterRule") {
        let fields = Fields::of(rule, &["Name", "Value"])?;
        let name = text(fields.required("Name")?)?;
        let value = text(fields.required("Value")?)?;
        let slot = match name.to_ascii_lowercase().as_str() {
            "prefix" => &mut prefix,
            "suffix" => &mut suffix,
            _ => {
                let message = "filter rule name must be either prefix or suffix";
                return Err(S3Error::invalid_argument(message, "FilterRule.Name", name));
            }
        };
        if value.len() > crate::base::limits::KEY_BYTES_MAX {
            let message = "Size of filter rule value cannot exceed 1024 bytes in UTF-8 representation";
            return Err(S3Error::invalid_argument(message, "FilterRule.Value", value));
        }
        if slot.replace(value.to_owned()).is_some() {
            let message = format!("Cannot specify more than one {} rule in a filter.", name.to_lowercase());
            return Err(S3Error::invalid_argument(message, "FilterRule.Name", name));
        }
    }
    Ok((prefix, suffix))
}

impl Document for Notification {
    const NAME: &'static str = "notification";
    const ROOT: &'static str = "NotificationConfiguration";

    fn read(root: &Element) -> Result<Self, S3Error> {
        let names = [
            "TopicConfiguration",
            "QueueConfiguration",
            "CloudFunctionConfiguration",
            "EventBridgeConfiguration",
        ];
        let fields = Fields::of(root, &names)?;
        if fields.once("EventBridgeConfiguration")?.is_some() {
            return Err(S3Error::new(Code::NotImplemented)
                .with_message("There is no EventBridge to send events to.")
                .with_field("Header", "EventBridgeConfiguration"));
        }
        let mut configurations = Vec::new();
        for kind in TargetKind::ALL {
            for element in fields.all(kind.elements().0) {
                configurations.push(NotificationRule::read(element, kind)?);
            }
        }
        if configurations.len() > NOTIFICATIONS_MAX {
            let message = format!("There may be {NOTIFICATIONS_MAX} notification configurations at most.");
            return Err(S3Error::invalid_argument(message, "Id", configurations.len()));
        }
        let mut ids = BTreeSet::new();
        if let Some(rule) = configurations.iter().find(|rule| !ids.insert(&rule.id)) {
            let message = "Same ID used for multiple configurations. IDs must be unique";
            return Err(S3Error::invalid_argument(message, "Id", &rule.id));
        }
        let notification = Self { configurations };
        notification.check_overlaps()?;
        Ok(notification)
    }

    fn write(&self, xml: &mut XmlWriter) {
        for rule in &self.configurations {
            rule.write(xml);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::document::tests::{assert_fixed_point, read, refusal};
    use super::*;
    use proptest::prelude::*;

    const ARN: &str = "arn:ringcask:sqs:us-east-1:main:webhook";

    fn queue(id: &str, events: &[&str], filters: &[(&str, &str)]) -> String {
        let id = if id.is_empty() { String::new() } else { format!("<Id>{id}</Id>") };
        let events: String = events.iter().map(|event| format!("<Event>{event}</Event>")).collect();
        let filter = |(name, value): &(&str, &str)| {
            format!("<FilterRule><Name>{name}</Name><Value>{value}</Value></FilterRule>")
        };
        let filters: String = filters.iter().map(filter).collect();
        format!(
            "<QueueConfiguration>{id}<Queue>{ARN}</Queue>{events}<Filter><S3Key>{filters}</S3Key></Filter>\
             </QueueConfiguration>"
        )
    }

    #[test]
    fn an_event_is_heard_of_if_name_and_key_fit() {
        let images = [("prefix", "images/"), ("Suffix", ".jpg")];
        let notification: Notification = read(
            &[queue("a", &["s3:ObjectCreated:*"], &images), queue("b", &["s3:ObjectRemoved:Delete"], &[])]
                .concat(),
        )
        .unwrap();
        let heard = |event, key| notification.matches(event, key).map(|rule| rule.id.as_str());
        assert_eq!(heard("s3:ObjectCreated:Put", "images/a.jpg"), Some("a"));
        assert_eq!(heard("s3:ObjectCreated:Copy", "images/a.png"), None);
        assert_eq!(heard("s3:ObjectCreated:Put", "a.jpg"), None);
        assert_eq!(heard("s3:ObjectRemoved:Delete", "x"), Some("b"));
        assert_eq!(heard("s3:ObjectRemoved:DeleteMarkerCreated", "x"), None);
        assert_fixed_point(&notification);
        assert!(notification.check_targets([ARN].into_iter()).is_ok());
        let error = notification.check_targets(["arn:other"].into_iter()).unwrap_err();
        assert_eq!(error.code, Code::InvalidArgument);
        assert_eq!(error.message, "Unable to validate the following destination configurations");
    }

    #[test]
    fn a_configuration_without_an_id_gets_one_that_stays() {
        let inside = queue("", &["s3:ObjectCreated:Put"], &[]);
        let notification: Notification = read(&inside).unwrap();
        assert!(!notification.configurations[0].id.is_empty());
        assert_fixed_point(&notification);
        assert_eq!(read::<Notification>(&inside), Ok(notification));
        assert_eq!(read(""), Ok(Notification::default()));
    }

    #[test]
    fn two_configurations_never_hear_of_the_same_event() {
        let put = ["s3:ObjectCreated:Put"];
        let all = ["s3:ObjectCreated:*"];
        let pair = |first: String, second: String| first + &second;
        for inside in [
            pair(queue("a", &put, &[]), queue("b", &all, &[])),
            pair(queue("a", &put, &[("prefix", "x")]), queue("b", &all, &[("prefix", "xy")])),
            pair(queue("a", &put, &[("suffix", ".a.b")]), queue("b", &put, &[("suffix", ".b")])),
            pair(queue("a", &put, &[("suffix", ".b")]), queue("b", &put, &[("prefix", "b")])),
        ] {
            assert_eq!(refusal::<Notification>(&inside).0, Code::InvalidArgument, "{inside}");
        }
        for inside in [
            pair(queue("a", &put, &[("prefix", "x")]), queue("b", &all, &[("prefix", "y")])),
            pair(queue("a", &put, &[("suffix", "x")]), queue("b", &all, &[("suffix", "y")])),
            pair(queue("a", &put, &[]), queue("b", &["s3:ObjectCreated:Copy"], &[])),
        ] {
            assert!(read::<Notification>(&inside).is_ok(), "{inside}");
        }
    }

    #[test]
    fn an_event_that_is_named_again_and_again_is_heard_of_once() {
        // Two configurations of forty thousand events each once took a core ten seconds to compare.
        let many = |event| vec![event; 40_000];
        let put = queue("a", &many("s3:ObjectCreated:Put"), &[]);
        let notification: Notification =
            read(&(put + &queue("b", &many("s3:ObjectRemoved:Delete"), &[]))).unwrap();
        assert_fixed_point(&notification);
        assert!(notification.render().len() < 1000);
    }

    #[test]
    fn what_nobody_could_be_told_is_refused() {
        let put = ["s3:ObjectCreated:Put"];
        let code = |inside: &str| refusal::<Notification>(inside).0;
        assert_eq!(code(&queue("a", &["s3:ObjectCreated:Putt"], &[])), Code::InvalidArgument);
        assert_eq!(code(&queue("a", &["s3:Replication:*"], &[])), Code::NotImplemented);
        assert_eq!(code("<EventBridgeConfiguration/>"), Code::NotImplemented);
        assert_eq!(code(&queue("a", &put, &[("infix", "x")])), Code::InvalidArgument);
        assert_eq!(code(&queue("a", &put, &[("prefix", "x"), ("prefix", "y")])), Code::InvalidArgument);
        assert_eq!(code(&queue("a", &put, &[]).replace(ARN, "arn:x")), Code::InvalidArgument);
        assert_eq!(code(&queue("a", &[], &[])), Code::MalformedXML);
        assert_eq!(code("<Other/>"), Code::MalformedXML);
        let twice = queue("a", &put, &[]) + &queue("a", &["s3:ObjectRemoved:*"], &[]);
        assert_eq!(code(&twice), Code::InvalidArgument);
    }

    proptest! {
        #[test]
        fn an_event_goes_to_one_configuration_at_most(
            rules in prop::collection::vec(("[ab]{0,2}", "[ab]{0,2}", 0..EVENTS.len()), 1..5),
            key in "[ab]{0,4}",
            event in 0..EVENTS.len(),
        ) {
            let rule = |(index, (prefix, suffix, event)): (usize, &(String, String, usize))| {
                queue(&index.to_string(), &[EVENTS[*event]], &[("prefix", prefix), ("suffix", suffix)])
            };
            let inside: String = rules.iter().enumerate().map(rule).collect();
            if let Ok(notification) = read::<Notification>(&inside) {
                assert_fixed_point(&notification);
                let heard = notification.configurations.iter().filter(|rule| rule.matches(EVENTS[event], &key));
                prop_assert!(heard.count() <= 1);
            }
        }
    }
}
