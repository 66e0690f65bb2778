//! What the rules of a lifecycle configuration say about an object, a version, a delete marker or an upload,
//! and when. Pure: who asks brings the time and the length of a day.
//!
//! Source: AWS, "Lifecycle configuration elements" and "Expiring objects".

use super::lifecycle::{Expiration, Lifecycle, LifecycleFilter, LifecycleRule};
use crate::base::limits::{LIFECYCLE_DELAY_MS, LIFECYCLE_PASS_PAUSE_MS_MIN};
use crate::http::{date, percent};
use crate::io::TimestampMs;

/// How long a day lasts, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DayLength(pub u64);

impl DayLength {
    /// The day of the calendar.
    pub const CALENDAR: Self = Self(24 * 60 * 60 * 1000);

    /// When `days` days have passed since `start`. Days of the calendar end at midnight UTC; shorter ones, for
    /// tests, end as long after `start` as they last, since waiting for the end of a day could double them.
    pub fn after(self, start: TimestampMs, days: u32) -> TimestampMs {
        let due = start.saturating_add(u64::from(days).saturating_mul(self.0));
        match self {
            Self::CALENDAR => due.div_ceil(self.0).saturating_mul(self.0),
            _ => due,
        }
    }

    /// When the driver of the rules looks at them next, if it has just looked.
    pub fn next_pass(self, now: TimestampMs) -> TimestampMs {
        match self {
            Self::CALENDAR => (now / self.0 + 1) * self.0 + LIFECYCLE_DELAY_MS,
            _ => now.saturating_add((self.0 / 4).max(LIFECYCLE_PASS_PAUSE_MS_MIN)),
        }
    }

    /// When it looks at them first after a start.
    pub fn first_pass(self, now: TimestampMs) -> TimestampMs {
        match self {
            Self::CALENDAR => now.saturating_add(LIFECYCLE_DELAY_MS),
            _ => self.next_pass(now),
        }
    }
}

/// What a filter looks at.
#[derive(Clone, Copy)]
pub struct Candidate<'a> {
    pub key: &'a str,
    pub bytes: u64,
    /// Whether the object has this tag: key and value.
    pub has_tag: &'a dyn Fn(&str, &str) -> bool,
    /// When the version was made.
    pub modified: TimestampMs,
}

/// When something is due, and by which rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry<'a> {
    pub rule: &'a str,
    pub at: TimestampMs,
}

impl Expiry<'_> {
    /// The value of `x-amz-expiration`.
    pub fn header(&self) -> String {
        let at = date::imf_fixdate(self.at);
        let rule = percent::encode(self.rule.as_bytes());
        format!("expiry-date=\"{}\", rule-id=\"{rule}\"", String::from_utf8_lossy(&at))
    }
}

impl Lifecycle {
    /// When the current version of an object expires; by the rule that wants it first.
    pub fn expires(&self, object: &Candidate<'_>, day: DayLength) -> Option<Expiry<'_>> {
        self.first(|rule| match rule.expiration? {
            Expiration::Days(days) if rule.filter.admits(object) => Some(day.after(object.modified, days)),
            Expiration::Date(date) if rule.filter.admits(object) => Some(date),
            _ => None,
        })
    }

    /// When a version is removed that was replaced at `noncurrent_since` and has `newer_versions` newer ones
    /// that are not current either.
    pub fn noncurrent_expires(
        &self,
        version: &Candidate<'_>,
        noncurrent_since: TimestampMs,
        newer_versions: u64,
        day: DayLength,
    ) -> Option<Expiry<'_>> {
        self.first(|rule| {
            let noncurrent = rule.noncurrent?;
            let is_beyond = newer_versions >= u64::from(noncurrent.newer_versions.unwrap_or(0));
            (is_beyond && rule.filter.admits(version)).then(|| day.after(noncurrent_since, noncurrent.days))
        })
    }

    /// When a delete marker goes that has no version of its key behind it. A rule that counts days removes it
    /// too, once it is so old.
    pub fn delete_marker_expires(
        &self,
        key: &str,
        modified: TimestampMs,
        day: DayLength,
    ) -> Option<Expiry<'_>> {
        // A marker has no tags and no bytes, so that rules which ask for either do not mean it.
        self.first(|rule| match rule.expiration? {
            _ if !rule.filter.admits_key(key) || !rule.filter.is_of_keys_alone() => None,
            Expiration::DeleteMarker(true) => Some(modified),
            Expiration::DeleteMarker(false) => None,
            Expiration::Days(days) => Some(day.after(modified, days)),
            Expiration::Date(date) => Some(date),
        })
    }

    /// When an unfinished upload that began at `initiated` is aborted.
    pub fn upload_aborts(&self, key: &str, initiated: TimestampMs, day: DayLength) -> Option<Expiry<'_>> {
        self.first(|rule| {
            let days = rule.abort_upload_days?;
            rule.filter.admits_key(key).then(|| day.after(initiated, days))
        })
    }

    /// Whether any rule in force asks for tags, so that they must be looked up.
    pub fn asks_for_tags(&self) -> bool {
        self.rules.iter().any(|rule| rule.enabled && !rule.filter.tags.is_empty())
    }

    /// Whether any rule in force removes or hides versions or delete markers.
    pub fn removes_versions(&self) -> bool {
        let removes = |rule: &LifecycleRule| rule.expiration.is_some() || rule.noncurrent.is_some();
        self.rules.iter().any(|rule| rule.enabled && removes(rule))
    }

    /// Whether any rule in force aborts uploads.
    pub fn aborts_uploads(&self) -> bool {
        self.rules.iter().any(|rule| rule.enabled && rule.abort_upload_days.is_some())
    }

    fn first(&self, due: impl Fn(&LifecycleRule) -> Option<TimestampMs>) -> Option<Expiry<'_>> {
        let in_force = self.rules.iter().filter(|rule| rule.enabled);
        in_force
            .filter_map(|rule| due(rule).map(|at| Expiry { rule: &rule.id, at }))
            .min_by_key(|expiry| expiry.at)
    }
}

impl LifecycleFilter {
    fn admits(&self, object: &Candidate<'_>) -> bool {
        self.admits_key(object.key)
            && self.bytes_above.is_none_or(|bytes| object.bytes > bytes)
            && self.bytes_below.is_none_or(|bytes| object.bytes < bytes)
            && self.tags.iter().all(|(key, value)| (object.has_tag)(key, value))
    }

    fn admits_key(&self, key: &str) -> bool {
        self.prefix.as_ref().is_none_or(|prefix| key.starts_with(prefix.as_str()))
    }

    fn is_of_keys_alone(&self) -> bool {
        self.tags.is_empty() && self.bytes_above.is_none() && self.bytes_below.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::super::document::tests::read;
    use super::*;

    /// 1970-01-02T12:00:00Z.
    const NOON: TimestampMs = DayLength::CALENDAR.0 * 3 / 2;
    const DAY: DayLength = DayLength::CALENDAR;

    fn lifecycle(rules: &[(&str, &str, &str)]) -> Lifecycle {
        let rule = |(id, filter, actions): &(&str, &str, &str)| {
            format!("<Rule><ID>{id}</ID><Status>Enabled</Status><Filter>{filter}</Filter>{actions}</Rule>")
        };
        read(&rules.iter().map(rule).collect::<String>()).unwrap()
    }

    fn due<'a>(lifecycle: &'a Lifecycle, key: &str, bytes: u64, tags: &[(&str, &str)]) -> Option<Expiry<'a>> {
        let has_tag = |key: &str, value: &str| tags.contains(&(key, value));
        lifecycle.expires(&Candidate { key, bytes, has_tag: &has_tag, modified: NOON }, DAY)
    }

    #[test]
    fn days_are_counted_whole_and_end_at_midnight() {
        assert_eq!(DAY.after(NOON, 1), 3 * DAY.0);
        assert_eq!(DAY.after(2 * DAY.0, 1), 3 * DAY.0);
        assert_eq!(DayLength(10).after(101, 2), 121);
        assert_eq!(DAY.after(u64::MAX, u32::MAX), u64::MAX);
    }

    #[test]
    fn rules_are_looked_at_after_midnight_and_short_days_more_often() {
        assert_eq!(DAY.first_pass(NOON), NOON + LIFECYCLE_DELAY_MS);
        assert_eq!(DAY.next_pass(NOON), 2 * DAY.0 + LIFECYCLE_DELAY_MS);
        assert_eq!(DAY.next_pass(2 * DAY.0), 3 * DAY.0 + LIFECYCLE_DELAY_MS);
        assert_eq!(DayLength(10_000).first_pass(NOON), NOON + 2500);
        assert_eq!(DayLength(1000).next_pass(NOON), NOON + 1000);
    }

    #[test]
    fn the_earliest_date_wins_among_rules_that_apply() {
        let expires = |days: u32| format!("<Expiration><Days>{days}</Days></Expiration>");
        let (three, two, one) = (expires(3), expires(2), expires(1));
        let tag = "<Tag><Key>k</Key><Value>v</Value></Tag>";
        let rules = lifecycle(&[
            ("all", "", &three),
            ("logs", "<Prefix>logs/</Prefix>", &two),
            ("large", "<ObjectSizeGreaterThan>10</ObjectSizeGreaterThan>", &one),
            ("tagged", tag, &one),
        ]);
        let rule = |key, bytes, tags| due(&rules, key, bytes, tags).unwrap().rule;
        assert_eq!(rule("a", 10, &[]), "all");
        assert_eq!(rule("logs/a", 10, &[]), "logs");
        assert_eq!(rule("logs/a", 11, &[]), "large");
        assert_eq!(rule("a", 0, &[("k", "v")]), "tagged");
        assert_eq!(rule("a", 0, &[("k", "w")]), "all");
        assert!(rules.asks_for_tags());
        assert_eq!(
            due(&rules, "a", 0, &[]).unwrap().header(),
            "expiry-date=\"Tue, 06 Jan 1970 00:00:00 GMT\", rule-id=\"all\""
        );
    }

    #[test]
    fn rules_out_of_force_say_nothing() {
        let inside = "<Rule><ID>a b</ID><Status>Disabled</Status><Prefix/><Expiration><Days>1</Days>\
                      </Expiration></Rule>";
        let rules: Lifecycle = read(inside).unwrap();
        assert_eq!(due(&rules, "a", 0, &[]), None);
        let rules: Lifecycle = read(&inside.replace("Disabled", "Enabled")).unwrap();
        assert!(due(&rules, "a", 0, &[]).unwrap().header().ends_with("rule-id=\"a%20b\""));
    }

    #[test]
    fn noncurrent_versions_go_beyond_those_that_are_kept() {
        let actions = "<NoncurrentVersionExpiration><NewerNoncurrentVersions>2</NewerNoncurrentVersions>\
                       <NoncurrentDays>1</NoncurrentDays></NoncurrentVersionExpiration>";
        let rules = lifecycle(&[("a", "", actions)]);
        let no_tags = |_: &str, _: &str| false;
        let version = Candidate { key: "k", bytes: 1, has_tag: &no_tags, modified: 0 };
        assert_eq!(rules.noncurrent_expires(&version, NOON, 1, DAY), None);
        let expiry = rules.noncurrent_expires(&version, NOON, 2, DAY).unwrap();
        assert_eq!(expiry.at, 3 * DAY.0);
        assert_eq!(rules.expires(&version, DAY), None);
    }

    #[test]
    fn a_lone_delete_marker_goes_at_once_or_with_its_age() {
        let marker = "<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>";
        let at = |rules: &Lifecycle| rules.delete_marker_expires("k", NOON, DAY).map(|expiry| expiry.at);
        assert_eq!(at(&lifecycle(&[("a", "", marker)])), Some(NOON));
        assert_eq!(at(&lifecycle(&[("a", "", &marker.replace("true", "false"))])), None);
        let days = "<Expiration><Days>1</Days></Expiration>";
        assert_eq!(at(&lifecycle(&[("a", "", days)])), Some(3 * DAY.0));
        assert_eq!(at(&lifecycle(&[("a", "<Prefix>x</Prefix>", days)])), None);
        let large = "<ObjectSizeLessThan>10</ObjectSizeLessThan>";
        assert_eq!(at(&lifecycle(&[("a", large, days)])), None);
    }

    #[test]
    fn uploads_are_aborted_by_prefix() {
        let actions = "<AbortIncompleteMultipartUpload><DaysAfterInitiation>2</DaysAfterInitiation>\
                       </AbortIncompleteMultipartUpload>";
        let rules = lifecycle(&[("a", "<Prefix>x/</Prefix>", actions)]);
        assert_eq!(rules.upload_aborts("x/k", NOON, DAY).unwrap().at, 4 * DAY.0);
        assert_eq!(rules.upload_aborts("k", NOON, DAY), None);
    }
}
