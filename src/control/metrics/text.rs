//! Prometheus's text format.
//!
//! Source: Prometheus, "Exposition formats", text format details.

use std::fmt::{Display, Write};

use crate::base::instruments::Distribution;

/// What the values of a family mean over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// A number that only grows while the node runs.
    Counter,
    /// A number that stands as it is.
    Gauge,
    /// How often values were below each of several bounds.
    Histogram,
}

impl Type {
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// What the values that a histogram counted are shown as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Nanoseconds, shown as seconds.
    Seconds,
    /// Numbers, shown as they are.
    One,
}

/// Nanoseconds, shown as seconds.
pub struct Seconds(pub u64);

impl Display for Seconds {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}", self.0 as f64 / 1e9)
    }
}

/// Names and values of labels.
pub type Labels<'a> = &'a [(&'a str, &'a dyn Display)];

/// Begins a family: says what it is and of which type.
pub fn begin(name: &str, kind: Type, help: &str, text: &mut String) {
    // Writing to a string never fails.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {}", kind.name());
}

/// The samples of one family.
pub struct Samples<'a> {
    name: &'static str,
    text: &'a mut String,
}

impl<'a> Samples<'a> {
    pub fn new(name: &'static str, text: &'a mut String) -> Self {
        Self { name, text }
    }

    /// Writes a counter or a gauge.
    pub fn value(&mut self, labels: Labels<'_>, value: impl Display) {
        self.sample("", labels, None, &value);
    }

    /// Writes a histogram.
    pub fn histogram(&mut self, labels: Labels<'_>, distribution: &Distribution, unit: Unit) {
        for (bound, below) in distribution.cumulative() {
            match unit {
                Unit::Seconds => self.sample("_bucket", labels, Some(&Seconds(bound)), &below),
                Unit::One => self.sample("_bucket", labels, Some(&bound), &below),
            }
        }
        let count = distribution.count();
        self.sample("_bucket", labels, Some(&"+Inf"), &count);
        match unit {
            Unit::Seconds => self.sample("_sum", labels, None, &Seconds(distribution.sum())),
            Unit::One => self.sample("_sum", labels, None, &distribution.sum()),
        }
        self.sample("_count", labels, None, &count);
    }

    fn sample(&mut self, suffix: &str, labels: Labels<'_>, bound: Option<&dyn Display>, value: &dyn Display) {
        let _ = write!(self.text, "{}{suffix}", self.name);
        let mut separator = '{';
        let bound = bound.map(|bound| ("le", bound));
        for (name, value) in labels.iter().copied().chain(bound) {
            let value = value.to_string();
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.text, "{separator}{name}=\"{value}\"");
            separator = ',';
        }
        let _ = writeln!(self.text, "{} {value}", if separator == ',' { "}" } else { "" });
    }
}
