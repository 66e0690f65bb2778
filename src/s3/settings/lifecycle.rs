//! `LifecycleConfiguration`: when objects, their versions and unfinished uploads of a bucket are removed.
//! This file reads and writes the document; what its rules say about an object is in
//! [`expiry`](super::expiry).
//!
//! Source: AWS, PutBucketLifecycleConfiguration, and "Lifecycle configuration elements".

use std::collections::BTreeSet;

use super::document::{Document, Fields, malformed, text};
use crate::base::limits::{
    KEY_BYTES_MAX, LIFECYCLE_RULES_MAX, NEWER_VERSIONS_MAX, SETTING_ID_CHARACTERS_MAX,
};
use crate::hash;
use crate::http::date;
use crate::io::TimestampMs;
use crate::s3::error::{Code, S3Error};
use crate::s3::xml::{self, Element, XmlWriter};

/// The rules of a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lifecycle {
    pub rules: Vec<LifecycleRule>,
}

/// A rule: what becomes of those objects that pass its filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LifecycleRule {
    pub id: String,
    pub enabled: bool,
    pub filter: LifecycleFilter,
    /// How the filter was written.
    form: FilterForm,
    pub expiration: Option<Expiration>,
    pub noncurrent: Option<NoncurrentExpiration>,
    /// Days after which an unfinished multipart upload is aborted.
    pub abort_upload_days: Option<u32>,
}

/// What an object must be for a rule to apply. An empty filter lets all pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LifecycleFilter {
    pub prefix: Option<String>,
    /// Each of these, key and value.
    pub tags: Vec<(String, String)>,
    /// Only larger objects.
    pub bytes_above: Option<u64>,
    /// Only smaller objects.
    pub bytes_below: Option<u64>,
}

/// The same filter can be written in three ways, and a client reads what it wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FilterForm {
    /// `Prefix` in the rule itself: before there were filters.
    Legacy,
    /// One predicate in `Filter`, or none.
    Single,
    /// `And` in `Filter`.
    And,
}

/// When the current version of an object expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiration {
    /// So many days after it was made.
    Days(u32),
    /// At this midnight, and if it was made later, at once.
    Date(TimestampMs),
    /// A delete marker goes when no version is behind it (`true`), or stays (`false`).
    DeleteMarker(bool),
}

/// When versions that are not current are removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoncurrentExpiration {
    /// So many days after they were replaced.
    pub days: u32,
    /// Only beyond this many newer noncurrent versions.
    pub newer_versions: Option<u32>,
}

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

impl Document for Lifecycle {
    const NAME: &'static str = "lifecycle";
    const ROOT: &'static str = "LifecycleConfiguration";

    fn read(root: &Element) -> Result<Self, S3Error> {
        let rules: Vec<_> =
            Fields::of(root, &["Rule"])?.all("Rule").map(LifecycleRule::read).collect::<Result<_, _>>()?;
        if rules.is_empty() || rules.len() > LIFECYCLE_RULES_MAX {
            return Err(malformed());
        }
        let mut lifecycle = Self { rules };
        lifecycle.check()?;
        for (index, rule) in lifecycle.rules.iter_mut().enumerate() {
            if rule.id.is_empty() {
                rule.id = rule.id_made(index);
            }
        }
        Ok(lifecycle)
    }

    fn write(&self, xml: &mut XmlWriter) {
        for rule in &self.rules {
            rule.write(xml);
        }
    }
}

impl Lifecycle {
    fn check(&self) -> Result<(), S3Error> {
        let mut ids = BTreeSet::new();
        if let Some(rule) = self.rules.iter().find(|rule| !rule.id.is_empty() && !ids.insert(&rule.id)) {
            let message = "Rule ID must be unique. Found same ID for more than one rule";
            return Err(S3Error::invalid_argument(message, "ID", &rule.id));
        }
        let is_legacy = |rule: &LifecycleRule| rule.form == FilterForm::Legacy;
        if self.rules.iter().any(is_legacy) && !self.rules.iter().all(is_legacy) {
            return Err(S3Error::invalid_request(
                "Base level prefix cannot be used in Lifecycle V2, prefixes are only supported in the Filter.",
            ));
        }
        Ok(())
    }
}

impl LifecycleRule {
    fn read(element: &Element) -> Result<Self, S3Error> {
        let names = [
            "ID",
            "Status",
            "Prefix",
            "Filter",
            "Expiration",
            "NoncurrentVersionExpiration",
            "AbortIncompleteMultipartUpload",
            "Transition",
            "NoncurrentVersionTransition",
        ];
        let fields = Fields::of(element, &names)?;
        let enabled = fields.word("Status", &[("Enabled", true), ("Disabled", false)])?;
        let (filter, form) = match (fields.text("Prefix")?, fields.once("Filter")?) {
            (Some(prefix), None) => {
                let prefix = Some(prefix.to_owned());
                (LifecycleFilter { prefix, ..LifecycleFilter::default() }, FilterForm::Legacy)
            }
            (None, Some(filter)) => LifecycleFilter::read(filter)?,
            _ => return Err(malformed()),
        };
        let rule = Self {
            id: fields.text("ID")?.unwrap_or_default().to_owned(),
            enabled: enabled.ok_or_else(malformed)?,
            filter,
            form,
            expiration: fields.once("Expiration")?.map(Expiration::read).transpose()?,
            noncurrent: fields
                .once("NoncurrentVersionExpiration")?
                .map(NoncurrentExpiration::read)
                .transpose()?,
            abort_upload_days: fields.once("AbortIncompleteMultipartUpload")?.map(abort_days).transpose()?,
        };
        check_transitions(fields)?;
        rule.check()?;
        Ok(rule)
    }

    fn check(&self) -> Result<(), S3Error> {
        if self.id.chars().count() > SETTING_ID_CHARACTERS_MAX {
            let message = format!("ID length should not exceed allowed limit of {SETTING_ID_CHARACTERS_MAX}");
            return Err(S3Error::invalid_argument(message, "ID", &self.id));
        }
        if self.expiration.is_none() && self.noncurrent.is_none() && self.abort_upload_days.is_none() {
            return Err(S3Error::invalid_request("At least one action needs to be specified in a rule"));
        }
        self.filter.check()?;
        let needs_bytes = self.filter.bytes_above.is_some() || self.filter.bytes_below.is_some();
        let is_marker = matches!(self.expiration, Some(Expiration::DeleteMarker(_)));
        for (action, is_there) in [
            ("AbortIncompleteMultipartUpload", self.abort_upload_days.is_some()),
            ("ExpiredObjectDeleteMarker", is_marker),
        ] {
            if is_there && !self.filter.tags.is_empty() {
                let message = format!("{action} cannot be specified with Tags.");
                return Err(S3Error::invalid_request(message));
            }
            if is_there && needs_bytes {
                let message = format!("{action} cannot be specified with Object Size.");
                return Err(S3Error::invalid_request(message));
            }
        }
        Ok(())
    }

    /// An id for a rule that came without: derived from what it says and where it stands, so that it stays.
    fn id_made(&self, index: usize) -> String {
        let mut xml = XmlWriter::document_plain("Rule");
        xml.value("Index", index);
        self.write(&mut xml);
        hash::base64_encode(&hash::md5(&xml.finish()))
    }

    fn write(&self, xml: &mut XmlWriter) {
        xml.open("Rule");
        xml.text("ID", &self.id);
        match self.form {
            FilterForm::Legacy => xml.text("Prefix", self.filter.prefix.as_deref().unwrap_or_default()),
            FilterForm::Single | FilterForm::And => {
                xml.open("Filter");
                if self.form == FilterForm::And {
                    xml.open("And");
                }
                self.filter.write(xml);
                if self.form == FilterForm::And {
                    xml.close();
                }
                xml.close();
            }
        }
        xml.text("Status", if self.enabled { "Enabled" } else { "Disabled" });
        self.write_actions(xml);
        xml.close();
    }

    fn write_actions(&self, xml: &mut XmlWriter) {
        if let Some(expiration) = self.expiration {
            xml.open("Expiration");
            match expiration {
                Expiration::Days(days) => xml.value("Days", days),
                Expiration::Date(date) => xml.text("Date", &xml::timestamp(date)),
                Expiration::DeleteMarker(goes) => xml.value("ExpiredObjectDeleteMarker", goes),
            }
            xml.close();
        }
        if let Some(noncurrent) = self.noncurrent {
            xml.open("NoncurrentVersionExpiration");
            if let Some(count) = noncurrent.newer_versions {
                xml.value("NewerNoncurrentVersions", count);
            }
            xml.value("NoncurrentDays", noncurrent.days);
            xml.close();
        }
        if let Some(days) = self.abort_upload_days {
            xml.open("AbortIncompleteMultipartUpload");
            xml.value("DaysAfterInitiation", days);
            xml.close();
        }
    }
}

/// The predicates of `Filter` and of `And` within.
const PREDICATES: [&str; 4] = ["Prefix", "Tag", "ObjectSizeGreaterThan", "ObjectSizeLessThan"];

impl LifecycleFilter {
    fn read(filter: &Element) -> Result<(Self, FilterForm), S3Error> {
        let [prefix, tag, above, below] = PREDICATES;
        let fields = Fields::of(filter, &[prefix, tag, above, below, "And"])?;
        match fields.once("And")? {
            Some(and) if filter.children.len() == 1 && !and.children.is_empty() => {
                Ok((Self::predicates(Fields::of(and, &PREDICATES)?)?, FilterForm::And))
            }
            None if filter.children.len() <= 1 => Ok((Self::predicates(fields)?, FilterForm::Single)),
            _ => Err(malformed()),
        }
    }

    fn predicates(fields: Fields<'_>) -> Result<Self, S3Error> {
        let tag = |tag: &Element| {
            let fields = Fields::of(tag, &["Key", "Value"])?;
            let text = |name| Ok::<_, S3Error>(text(fields.required(name)?)?.to_owned());
            Ok((text("Key")?, text("Value")?))
        };
        Ok(Self {
            prefix: fields.text("Prefix")?.map(str::to_owned),
            tags: fields.all("Tag").map(tag).collect::<Result<_, S3Error>>()?,
            bytes_above: fields.value("ObjectSizeGreaterThan")?,
            bytes_below: fields.value("ObjectSizeLessThan")?,
        })
    }

    fn check(&self) -> Result<(), S3Error> {
        if self.prefix.as_ref().is_some_and(|prefix| prefix.len() > KEY_BYTES_MAX) {
            let message = format!("The maximum size of a prefix is {KEY_BYTES_MAX}.");
            return Err(S3Error::invalid_request(message));
        }
        let mut keys = BTreeSet::new();
        if self.tags.iter().any(|(key, _)| key.is_empty()) {
            return Err(Code::InvalidTag.into());
        }
        if !self.tags.iter().all(|(key, _)| keys.insert(key)) {
            return Err(S3Error::invalid_request("Duplicate Tag Keys are not allowed."));
        }
        if let (Some(above), Some(below)) = (self.bytes_above, self.bytes_below)
            && below <= above
        {
            let message = "'ObjectSizeLessThan' has to be a value greater than 'ObjectSizeGreaterThan'.";
            return Err(S3Error::invalid_request(message));
        }
        Ok(())
    }

    fn write(&self, xml: &mut XmlWriter) {
        if let Some(prefix) = &self.prefix {
            xml.text("Prefix", prefix);
        }
        for (key, value) in &self.tags {
            xml.open("Tag");
            xml.text("Key", key);
            xml.text("Value", value);
            xml.close();
        }
        if let Some(bytes) = self.bytes_above {
            xml.value("ObjectSizeGreaterThan", bytes);
        }
        if let Some(bytes) = self.bytes_below {
            xml.value("ObjectSizeLessThan", bytes);
        }
    }
}

impl Expiration {
    fn read(element: &Element) -> Result<Self, S3Error> {
        let fields = Fields::of(element, &["Days", "Date", "ExpiredObjectDeleteMarker"])?;
        let marker = fields.truth("ExpiredObjectDeleteMarker")?;
        match (fields.value::<i64>("Days")?, fields.text("Date")?, marker) {
            (Some(days), None, None) => positive("Days", "Expiration", days).map(Self::Days),
            (None, Some(date), None) => midnight(date).map(Self::Date),
            (None, None, Some(goes)) => Ok(Self::DeleteMarker(goes)),
            _ => Err(malformed()),
        }
    }
}

impl NoncurrentExpiration {
    fn read(element: &Element) -> Result<Self, S3Error> {
        const ACTION: &str = "NoncurrentVersionExpiration";
        let fields = Fields::of(element, &["NoncurrentDays", "NewerNoncurrentVersions"])?;
        let days = fields.value::<i64>("NoncurrentDays")?.ok_or_else(malformed)?;
        let newer_versions = fields.value::<i64>("NewerNoncurrentVersions")?;
        if newer_versions.is_some_and(|count| !(1..=i64::from(NEWER_VERSIONS_MAX)).contains(&count)) {
            let message = format!(
                "'NewerNoncurrentVersions' for {ACTION} action must be an integer between 1 and \
                 {NEWER_VERSIONS_MAX}"
            );
            return Err(S3Error::invalid_argument(
                message,
                "NewerNoncurrentVersions",
                newer_versions.unwrap_or(0),
            ));
        }
        Ok(Self {
            days: positive("NoncurrentDays", ACTION, days)?,
            newer_versions: newer_versions.and_then(|count| u32::try_from(count).ok()),
        })
    }
}

fn abort_days(element: &Element) -> Result<u32, S3Error> {
    let fields = Fields::of(element, &["DaysAfterInitiation"])?;
    let days = fields.value::<i64>("DaysAfterInitiation")?.ok_or_else(malformed)?;
    positive("DaysAfterInitiation", "AbortIncompleteMultipartUpload", days)
}

/// Refuses to move objects to another storage class, for there is none; with what is wrong about the wish
/// itself first.
fn check_transitions(fields: Fields<'_>) -> Result<(), S3Error> {
    let mut is_asked = false;
    for transition in fields.all("Transition") {
        let inner = Fields::of(transition, &["Days", "Date", "StorageClass"])?;
        text(inner.required("StorageClass")?)?;
        match (inner.value::<u32>("Days")?, inner.text("Date")?) {
            (Some(_), None) => {}
            (None, Some(date)) => drop(midnight(date)?),
            _ => return Err(malformed()),
        }
        is_asked = true;
    }
    for transition in fields.all("NoncurrentVersionTransition") {
        let names = ["NoncurrentDays", "NewerNoncurrentVersions", "StorageClass"];
        let inner = Fields::of(transition, &names)?;
        text(inner.required("StorageClass")?)?;
        inner.value::<u32>("NoncurrentDays")?.ok_or_else(malformed)?;
        is_asked = true;
    }
    if is_asked {
        return Err(S3Error::new(Code::NotImplemented)
            .with_message("Transitions are not implemented: there is no storage class but STANDARD.")
            .with_field("Header", "Transition"));
    }
    Ok(())
}

/// A count of days above 0.
fn positive(name: &str, action: &str, days: i64) -> Result<u32, S3Error> {
    u32::try_from(days).ok().filter(|days| (1..=i32::MAX as u32).contains(days)).ok_or_else(|| {
        let message = format!("'{name}' for {action} action must be a positive integer");
        S3Error::invalid_argument(message, name, days)
    })
}

/// A date, which must be a midnight of UTC.
fn midnight(text: &str) -> Result<TimestampMs, S3Error> {
    // XML Schema knows only the form with dashes.
    let text = text.trim();
    let date = Some(text).filter(|text| text.get(4..5) == Some("-")).and_then(date::parse_iso8601);
    let date = date.ok_or_else(malformed)?;
    if date.is_multiple_of(DAY_MS) {
        return Ok(date);
    }
    Err(S3Error::invalid_argument("'Date' must be at midnight GMT", "Date", text))
}

#[cfg(test)]
mod tests {
    use super::super::document::tests::{assert_fixed_point, read, refusal};
    use super::*;
    use proptest::prelude::*;

    const EXPIRES: &str = "<Expiration><Days>1</Days></Expiration>";

    fn rule(filter: &str, actions: &str) -> String {
        format!("<Rule><Status>Enabled</Status>{filter}{actions}</Rule>")
    }

    fn error(inside: &str) -> (Code, String) {
        refusal::<Lifecycle>(inside)
    }

    #[test]
    fn rules_without_ids_get_some_that_stay() {
        let inside = rule("<Prefix/>", EXPIRES).repeat(2);
        let lifecycle: Lifecycle = read(&inside).unwrap();
        let [first, second] = &lifecycle.rules[..] else { panic!("two rules") };
        assert!(!first.id.is_empty() && first.id != second.id);
        assert_eq!(read::<Lifecycle>(&inside).unwrap(), lifecycle);
        assert_fixed_point(&lifecycle);
    }

    #[test]
    fn a_filter_is_written_as_it_was_read() {
        let tag = "<Tag><Key>k</Key><Value>v</Value></Tag>";
        for filter in [
            "<Prefix>logs/</Prefix>".to_owned(),
            "<Filter></Filter>".to_owned(),
            "<Filter><Prefix>logs/</Prefix></Filter>".to_owned(),
            format!("<Filter>{tag}</Filter>"),
            "<Filter><ObjectSizeGreaterThan>0</ObjectSizeGreaterThan></Filter>".to_owned(),
            format!(
                "<Filter><And><Prefix>a&amp;</Prefix>{tag}<ObjectSizeGreaterThan>1</ObjectSizeGreaterThan>\
                 <ObjectSizeLessThan>5</ObjectSizeLessThan></And></Filter>"
            ),
        ] {
            let lifecycle: Lifecycle = read(&rule(&filter, EXPIRES)).unwrap();
            let written = String::from_utf8(lifecycle.render()).unwrap();
            assert!(written.contains(&filter), "{written}");
            assert_fixed_point(&lifecycle);
        }
    }

    #[test]
    fn days_are_positive_and_dates_are_midnights() {
        for actions in [
            "<Expiration><Days>0</Days></Expiration>",
            "<Expiration><Days>-1</Days></Expiration>",
            "<Expiration><Days>4294967296</Days></Expiration>",
            "<Expiration><Date>2030-01-01T00:00:01Z</Date></Expiration>",
            "<NoncurrentVersionExpiration><NoncurrentDays>0</NoncurrentDays></NoncurrentVersionExpiration>",
            "<NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays>\
             <NewerNoncurrentVersions>101</NewerNoncurrentVersions></NoncurrentVersionExpiration>",
            "<AbortIncompleteMultipartUpload><DaysAfterInitiation>0</DaysAfterInitiation>\
             </AbortIncompleteMultipartUpload>",
        ] {
            assert_eq!(error(&rule("<Prefix/>", actions)).0, Code::InvalidArgument, "{actions}");
        }
        let dated = "<Expiration><Date>2030-01-01</Date></Expiration>";
        let lifecycle: Lifecycle = read(&rule("<Prefix/>", dated)).unwrap();
        assert_eq!(lifecycle.rules[0].expiration, Some(Expiration::Date(1_893_456_000_000)));
        assert_fixed_point(&lifecycle);
    }

    #[test]
    fn contradictions_are_malformed() {
        let filter = "<Filter><Prefix>a</Prefix></Filter>";
        for inside in [
            String::new(),
            rule("", EXPIRES),
            rule(&format!("<Prefix>a</Prefix>{filter}"), EXPIRES),
            rule("<Filter><Prefix/><ObjectSizeLessThan>1</ObjectSizeLessThan></Filter>", EXPIRES),
            rule("<Filter><And/></Filter>", EXPIRES),
            rule(filter, "<Expiration/>"),
            rule(filter, "<Expiration><Days>1</Days><Date>2030-01-01</Date></Expiration>"),
            rule(
                filter,
                "<Expiration><Days>1</Days><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker>\
                 </Expiration>",
            ),
            rule(filter, "<Expiration><Date>20200101</Date></Expiration>"),
            rule(filter, EXPIRES).replace("Enabled", "enabled"),
            rule(filter, EXPIRES).replace("<Status>Enabled</Status>", ""),
            rule(filter, EXPIRES).repeat(LIFECYCLE_RULES_MAX + 1),
            rule(filter, "<Retention/>"),
        ] {
            assert_eq!(error(&inside).0, Code::MalformedXML, "{inside:.200}");
        }
    }

    #[test]
    fn what_aws_refuses_in_words_is_refused_in_the_same() {
        let tags = "<Filter><Tag><Key>k</Key><Value>v</Value></Tag></Filter>";
        let size = "<Filter><ObjectSizeLessThan>9</ObjectSizeLessThan></Filter>";
        let abort = "<AbortIncompleteMultipartUpload><DaysAfterInitiation>1</DaysAfterInitiation>\
                     </AbortIncompleteMultipartUpload>";
        let marker = "<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>";
        let sizes = "<Filter><And><ObjectSizeGreaterThan>5</ObjectSizeGreaterThan>\
                     <ObjectSizeLessThan>5</ObjectSizeLessThan></And></Filter>";
        let twice = "<Filter><And><Tag><Key>k</Key><Value>1</Value></Tag>\
                     <Tag><Key>k</Key><Value>2</Value></Tag></And></Filter>";
        for inside in [
            rule("<Prefix/>", ""),
            rule(tags, abort),
            rule(size, abort),
            rule(tags, marker),
            rule(sizes, EXPIRES),
            rule(twice, EXPIRES),
            rule(&format!("<Prefix>{}</Prefix>", "p".repeat(KEY_BYTES_MAX + 1)), EXPIRES),
            rule("<Prefix/>", EXPIRES) + &rule("<Filter/>", EXPIRES),
        ] {
            assert_eq!(error(&inside).0, Code::InvalidRequest, "{inside:.200}");
        }
        let id = |id: &str| rule(&format!("<Prefix/><ID>{id}</ID>"), EXPIRES);
        assert_eq!(error(&id("a").repeat(2)).0, Code::InvalidArgument);
        assert_eq!(error(&id(&"i".repeat(SETTING_ID_CHARACTERS_MAX + 1))).0, Code::InvalidArgument);
    }

    #[test]
    fn transitions_are_refused_after_what_is_wrong_with_them() {
        let transition = |inside: &str| rule("<Filter/>", &format!("<Transition>{inside}</Transition>"));
        let class = "<StorageClass>GLACIER</StorageClass>";
        assert_eq!(error(&transition(&format!("<Days>0</Days>{class}"))).0, Code::NotImplemented);
        assert_eq!(error(&transition(&format!("<Date>20220927</Date>{class}"))).0, Code::MalformedXML);
        assert_eq!(
            error(&transition(&format!("<Date>2022-09-27T01:00:00Z</Date>{class}"))).0,
            Code::InvalidArgument
        );
        assert_eq!(error(&transition("<Days>1</Days>")).0, Code::MalformedXML);
    }

    prop_compose! {
        fn any_rule()(
            id in "[a-zA-Z0-9]{1,9}",
            enabled in any::<bool>(),
            filter in (
                prop::option::of("[a-z<&]{0,5}"),
                prop::collection::btree_map("[a-z]{1,3}", "[a-z]{0,3}", 0..3),
                prop::option::of(0u64..50),
                prop::option::of(50u64..90),
            ),
            expiration in prop_oneof![
                (1u32..5000).prop_map(Expiration::Days),
                (1u64..50_000).prop_map(|days| Expiration::Date(days * DAY_MS)),
            ],
            noncurrent in prop::option::of((1u32..5000, prop::option::of(1u32..=NEWER_VERSIONS_MAX))),
        ) -> LifecycleRule {
            let (prefix, tags, bytes_above, bytes_below) = filter;
            let tags = tags.into_iter().collect();
            let filter = LifecycleFilter { prefix: prefix.or(Some(String::new())), tags, bytes_above, bytes_below };
            let noncurrent = noncurrent.map(|(days, newer_versions)| NoncurrentExpiration { days, newer_versions });
            let expiration = Some(expiration);
            LifecycleRule {
                id, enabled, filter, form: FilterForm::And, expiration, noncurrent, abort_upload_days: None,
            }
        }
    }

    proptest! {
        #[test]
        fn rules_that_are_taken_write_and_read_themselves(rules in prop::collection::vec(any_rule(), 1..4)) {
            let lifecycle = Lifecycle { rules };
            if lifecycle.check().is_ok() {
                prop_assert_eq!(Lifecycle::parse(&lifecycle.render()), Ok(lifecycle.clone()));
                assert_fixed_point(&lifecycle);
            }
        }
    }
}
