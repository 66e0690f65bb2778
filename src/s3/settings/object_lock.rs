//! `ObjectLockConfiguration`: whether versions of a bucket's objects can be locked, and how they are locked
//! that come without a wish of their own.
//!
//! Source: AWS, PutObjectLockConfiguration.

use super::document::{Document, Fields, malformed};
use crate::base::limits::{RETENTION_DAYS_MAX, RETENTION_YEARS_MAX};
use crate::engine::{Retention, RetentionMode};
use crate::io::TimestampMs;
use crate::s3::error::{Code, S3Error};
use crate::s3::xml::{Element, XmlWriter};

/// Object lock is enabled, for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ObjectLock {
    pub default_retention: Option<DefaultRetention>,
}

/// How long new objects are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DefaultRetention {
    pub mode: RetentionMode,
    pub period: RetentionPeriod,
}

/// A length of time, as it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetentionPeriod {
    Days(u32),
    Years(u32),
}

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

const MODES: [(&str, RetentionMode); 2] =
    [("GOVERNANCE", RetentionMode::Governance), ("COMPLIANCE", RetentionMode::Compliance)];

impl DefaultRetention {
    /// The retention of an object that is made at `now`. A year has 365 days.
    pub fn from(self, now: TimestampMs) -> Retention {
        let days = match self.period {
            RetentionPeriod::Days(days) => u64::from(days),
            RetentionPeriod::Years(years) => u64::from(years) * 365,
        };
        Retention { mode: self.mode, until: now.saturating_add(days * DAY_MS) }
    }

    fn read(element: &Element) -> Result<Self, S3Error> {
        let fields = Fields::of(element, &["Mode", "Days", "Years"])?;
        let mode = fields.word("Mode", &MODES)?.ok_or_else(malformed)?;
        let period = match (fields.value::<i64>("Days")?, fields.value::<i64>("Years")?) {
            (Some(days), None) => RetentionPeriod::Days(period("Days", days, RETENTION_DAYS_MAX)?),
            (None, Some(years)) => RetentionPeriod::Years(period("Years", years, RETENTION_YEARS_MAX)?),
            _ => return Err(malformed()),
        };
        Ok(Self { mode, period })
    }
}

fn period(name: &str, count: i64, count_max: u32) -> Result<u32, S3Error> {
    let why = match u32::try_from(count) {
        Ok(count) if (1..=count_max).contains(&count) => return Ok(count),
        Ok(1..) => format!("Default retention period too large for '{name}'"),
        _ => format!("Default retention period must be a positive integer value for '{name}'"),
    };
    Err(S3Error::new(Code::InvalidRetentionPeriod).with_message(why))
}

impl Document for ObjectLock {
    const NAME: &'static str = "object-lock";
    const ROOT: &'static str = "ObjectLockConfiguration";

    fn read(root: &Element) -> Result<Self, S3Error> {
        let fields = Fields::of(root, &["ObjectLockEnabled", "Rule"])?;
        fields.word("ObjectLockEnabled", &[("Enabled", ())])?.ok_or_else(malformed)?;
        let Some(rule) = fields.once("Rule")? else { return Ok(Self::default()) };
        let retention = Fields::of(rule, &["DefaultRetention"])?.required("DefaultRetention")?;
        Ok(Self { default_retention: Some(DefaultRetention::read(retention)?) })
    }

    fn write(&self, xml: &mut XmlWriter) {
        xml.text("ObjectLockEnabled", "Enabled");
        let Some(retention) = self.default_retention else { return };
        xml.open("Rule");
        xml.open("DefaultRetention");
        let mode = MODES.iter().find(|(_, mode)| *mode == retention.mode);
        xml.text("Mode", mode.map_or("", |(word, _)| word));
        match retention.period {
            RetentionPeriod::Days(days) => xml.value("Days", days),
            RetentionPeriod::Years(years) => xml.value("Years", years),
        }
        xml.close();
        xml.close();
    }
}

#[cfg(test)]
mod tests {
    use super::super::document::tests::{assert_fixed_point, read, refusal};
    use super::*;

    fn with(retention: &str) -> String {
        format!(
            "<ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention>{retention}\
             </DefaultRetention></Rule>"
        )
    }

    #[test]
    fn a_default_lasts_days_or_years() {
        let lock: ObjectLock = read("<ObjectLockEnabled>Enabled</ObjectLockEnabled>").unwrap();
        assert_eq!(lock, ObjectLock::default());
        assert_fixed_point(&lock);
        let lock: ObjectLock = read(&with("<Mode>GOVERNANCE</Mode><Days>2</Days>")).unwrap();
        let retention = lock.default_retention.unwrap();
        assert_eq!(retention.period, RetentionPeriod::Days(2));
        assert_eq!(
            retention.from(1000),
            Retention { mode: RetentionMode::Governance, until: 1000 + 2 * DAY_MS }
        );
        assert_fixed_point(&lock);
        let lock: ObjectLock = read(&with("<Mode>COMPLIANCE</Mode><Years>1</Years>")).unwrap();
        assert_eq!(lock.default_retention.unwrap().from(0).until, 365 * DAY_MS);
        assert_fixed_point(&lock);
    }

    #[test]
    fn periods_are_positive_and_end() {
        for period in ["<Days>0</Days>", "<Years>-1</Years>", "<Days>36501</Days>", "<Years>101</Years>"] {
            let inside = with(&format!("<Mode>GOVERNANCE</Mode>{period}"));
            assert_eq!(refusal::<ObjectLock>(&inside).0, Code::InvalidRetentionPeriod, "{period}");
        }
    }

    #[test]
    fn other_words_and_both_periods_are_malformed() {
        for inside in [
            String::new(),
            "<ObjectLockEnabled>Disabled</ObjectLockEnabled>".to_owned(),
            "<ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule/>".to_owned(),
            with("<Mode>governance</Mode><Days>1</Days>"),
            with("<Mode>GOVERNANCE</Mode>"),
            with("<Days>1</Days>"),
            with("<Mode>GOVERNANCE</Mode><Days>1</Days><Years>1</Years>"),
            with("<Mode>GOVERNANCE</Mode><Days>1.5</Days>"),
        ] {
            assert_eq!(refusal::<ObjectLock>(&inside).0, Code::MalformedXML, "{inside}");
        }
    }
}
