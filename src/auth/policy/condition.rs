//! Conditions: an operator, a key and the values it is compared with.
//!
//! Source: AWS, "IAM JSON policy elements: condition operators" and "Multivalued context keys".

use std::borrow::Cow;
use std::cmp::Ordering;
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::auth::policy::glob::Glob;
use crate::auth::policy::key::ConditionKey;
use crate::auth::policy::template::Template;
use crate::auth::policy::{Attempt, Undecided, Value, Version};
use crate::http::date;

/// One line of a `Condition` block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) operator: Operator,
    pub(super) key: ConditionKey,
    pub(super) operands: Vec<Operand>,
}

/// An operator with its prefix and suffix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Operator {
    pub(super) test: Test,
    /// `…Not…`: holds if no operand fits.
    pub(super) is_negated: bool,
    pub(super) quantifier: Quantifier,
    /// `…IfExists`
    pub(super) if_exists: bool,
}

/// How a value is compared with an operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Test {
    Text,
    TextIgnoringCase,
    TextLike,
    Number(Comparison),
    Date(Comparison),
    Bool,
    Binary,
    Address,
    Arn,
    Null,
}

/// Which orders of value and operand are right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// What holds of several values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quantifier {
    /// No prefix.
    Plain,
    /// `ForAllValues:`
    All,
    /// `ForAnyValue:`
    Any,
}

/// What a value is compared with, read as its operator wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Operand {
    Text(Template),
    Number(Decimal),
    /// Milliseconds since 1970.
    Date(i128),
    Bool(bool),
    Binary(Vec<u8>),
    Network(Network),
    /// The six parts of an ARN; one part for `*`.
    Arn(Vec<Template>),
}

/// A number with a fraction, exactly: units of a billionth.
pub(super) type Decimal = i128;

const DECIMAL_DIGITS: usize = 9;

/// Addresses with a common prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Network {
    pub(super) address: IpAddr,
    pub(super) prefix_bits: u8,
}

impl Operator {
    /// Reads an operator's name.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let (quantifier, name) = match name.split_once(':') {
            Some(("ForAllValues", name)) => (Quantifier::All, name),
            Some(("ForAnyValue", name)) => (Quantifier::Any, name),
            Some(_) => return None,
            None => (Quantifier::Plain, name),
        };
        let (name, if_exists) = match name.strip_suffix("IfExists") {
            Some(name) => (name, true),
            None => (name, false),
        };
        let (test, is_negated) = match name {
            "StringEquals" => (Test::Text, false),
            "StringNotEquals" => (Test::Text, true),
            "StringEqualsIgnoreCase" => (Test::TextIgnoringCase, false),
            "StringNotEqualsIgnoreCase" => (Test::TextIgnoringCase, true),
            "StringLike" => (Test::TextLike, false),
            "StringNotLike" => (Test::TextLike, true),
            "NumericEquals" => (Test::Number(Comparison::Equal), false),
            "NumericNotEquals" => (Test::Number(Comparison::Equal), true),
            "NumericLessThan" => (Test::Number(Comparison::Less), false),
            "NumericLessThanEquals" => (Test::Number(Comparison::LessOrEqual), false),
            "NumericGreaterThan" => (Test::Number(Comparison::Greater), false),
            "NumericGreaterThanEquals" => (Test::Number(Comparison::GreaterOrEqual), false),
            "DateEquals" => (Test::Date(Comparison::Equal), false),
            "DateNotEquals" => (Test::Date(Comparison::Equal), true),
            "DateLessThan" => (Test::Date(Comparison::Less), false),
            "DateLessThanEquals" => (Test::Date(Comparison::LessOrEqual), false),
            "DateGreaterThan" => (Test::Date(Comparison::Greater), false),
            "DateGreaterThanEquals" => (Test::Date(Comparison::GreaterOrEqual), false),
            "Bool" => (Test::Bool, false),
            "BinaryEquals" => (Test::Binary, false),
            "IpAddress" => (Test::Address, false),
            "NotIpAddress" => (Test::Address, true),
            "ArnEquals" | "ArnLike" => (Test::Arn, false),
            "ArnNotEquals" | "ArnNotLike" => (Test::Arn, true),
            "Null" if quantifier == Quantifier::Plain && !if_exists => (Test::Null, false),
            _ => return None,
        };
        Some(Self { test, is_negated, quantifier, if_exists })
    }

    /// Reads an operand; the error is the part of it that can't be.
    pub(super) fn operand(&self, text: &str, version: Version) -> Result<Operand, String> {
        let invalid = || text.to_owned();
        Ok(match self.test {
            Test::Text | Test::TextIgnoringCase | Test::TextLike => {
                Operand::Text(Template::parse(text, version)?)
            }
            Test::Number(_) => Operand::Number(decimal(text).ok_or_else(invalid)?),
            Test::Date(_) => Operand::Date(moment(text).ok_or_else(invalid)?),
            Test::Bool | Test::Null => Operand::Bool(boolean(text).ok_or_else(invalid)?),
            Test::Binary => Operand::Binary(STANDARD.decode(text).map_err(|_| invalid())?),
            Test::Address => Operand::Network(Network::parse(text).ok_or_else(invalid)?),
            Test::Arn => {
                let parts = Template::parse(text, version)?.split(6);
                if text != "*" && parts.len() != 6 {
                    return Err(invalid());
                }
                Operand::Arn(parts)
            }
        })
    }
}

impl Condition {
    /// Whether it holds.
    pub(super) fn holds(&self, attempt: &Attempt<'_>) -> Result<bool, Undecided> {
        let value = attempt.value(&self.key)?;
        let operator = self.operator;
        if operator.test == Test::Null {
            let is_absent = value == Value::Absent;
            return Ok(self.operands.contains(&Operand::Bool(is_absent)));
        }
        let values: &[Cow<'_, str>] = match &value {
            Value::Absent => {
                let is_enough = match operator.quantifier {
                    Quantifier::Plain => operator.is_negated,
                    Quantifier::All => true,
                    Quantifier::Any => false,
                };
                return Ok(is_enough || operator.if_exists);
            }
            Value::One(value) => std::slice::from_ref(value),
            Value::Many(values) => values,
        };
        let fits = values.iter().map(|value| self.fits(value, attempt)).collect::<Result<Vec<_>, _>>()?;
        let right = |fits: &bool| *fits != operator.is_negated;
        Ok(match operator.quantifier {
            // Several values of a key without a prefix: one that fits is enough, unless none may.
            Quantifier::Plain if operator.is_negated => fits.iter().all(right),
            Quantifier::Plain | Quantifier::Any => fits.iter().any(right),
            Quantifier::All => fits.iter().all(right),
        })
    }

    /// Whether a value fits one of the operands.
    fn fits(&self, value: &str, attempt: &Attempt<'_>) -> Result<bool, Undecided> {
        for operand in &self.operands {
            if operand.fits(self.operator.test, value, attempt)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Operand {
    fn fits(&self, test: Test, value: &str, attempt: &Attempt<'_>) -> Result<bool, Undecided> {
        Ok(match (self, test) {
            (Self::Text(template), Test::TextLike) => {
                template.glob(attempt)?.is_some_and(|glob| glob.matches(value))
            }
            (Self::Text(template), Test::TextIgnoringCase) => {
                template.text(attempt)?.is_some_and(|text| text.to_lowercase() == value.to_lowercase())
            }
            (Self::Text(template), _) => template.text(attempt)?.is_some_and(|text| text == value),
            (Self::Number(operand), Test::Number(comparison)) => {
                decimal(value).is_some_and(|value| comparison.allows(value.cmp(operand)))
            }
            (Self::Date(operand), Test::Date(comparison)) => {
                moment(value).is_some_and(|value| comparison.allows(value.cmp(operand)))
            }
            (Self::Bool(operand), _) => boolean(value) == Some(*operand),
            (Self::Binary(operand), _) => STANDARD.decode(value).is_ok_and(|value| value == *operand),
            (Self::Network(network), _) => {
                value.parse().is_ok_and(|address: IpAddr| network.contains(address.to_canonical()))
            }
            (Self::Arn(parts), _) => arn_fits(parts, value, attempt)?,
            // The parser makes no other pairs.
            (Self::Number(_) | Self::Date(_), _) => false,
        })
    }
}

/// Compares the parts of an ARN one by one, so that no wildcard reaches over a colon.
fn arn_fits(parts: &[Template], value: &str, attempt: &Attempt<'_>) -> Result<bool, Undecided> {
    let values: Vec<&str> = value.splitn(6, ':').collect();
    if parts.len() == 1 {
        return Ok(values.len() == 6);
    }
    if values.len() != parts.len() {
        return Ok(false);
    }
    for (part, value) in parts.iter().zip(values) {
        let fits = part.glob(attempt)?.is_some_and(|glob: Cow<'_, Glob>| glob.matches(value));
        if !fits {
            return Ok(false);
        }
    }
    Ok(true)
}

impl Comparison {
    fn allows(self, order: Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
        }
    }
}

impl Network {
    /// Reads `203.0.113.0/24`, `2001:DB8::/32` or a single address.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let bits_max = if address.is_ipv4() { 32 } else { 128 };
        let prefix_bits = match bits {
            None => bits_max,
            Some(bits) if bits.bytes().all(|byte| byte.is_ascii_digit()) => bits.parse().ok()?,
            Some(_) => return None,
        };
        (prefix_bits <= bits_max).then_some(Self { address, prefix_bits })
    }

    fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let shift = 32 - u32::from(self.prefix_bits);
                let prefix = |bits: u32| bits.checked_shr(shift).unwrap_or(0);
                prefix(network.to_bits()) == prefix(address.to_bits())
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let shift = 128 - u32::from(self.prefix_bits);
                let prefix = |bits: u128| bits.checked_shr(shift).unwrap_or(0);
                prefix(network.to_bits()) == prefix(address.to_bits())
            }
            _ => false,
        }
    }
}

fn boolean(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("true") {
        Some(true)
    } else if text.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

/// Reads `-12.5`; `None` for what is no plain decimal number or has more digits than can be compared exactly.
fn decimal(text: &str) -> Option<Decimal> {
    let (is_negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let is_number = !whole.is_empty() && whole.len() <= 20 && fraction.len() <= DECIMAL_DIGITS;
    if !is_number || !is_digits(whole) || !is_digits(fraction) || digits.ends_with('.') {
        return None;
    }
    let units: Decimal = format!("{whole}{fraction:0<DECIMAL_DIGITS$}").parse().ok()?;
    Some(if is_negative { -units } else { units })
}

/// Reads a date of ISO 8601, or seconds since 1970.
fn moment(text: &str) -> Option<i128> {
    if let Some(units) = decimal(text) {
        return Some(units / 10_i128.pow(DECIMAL_DIGITS as u32 - 3));
    }
    date::parse_iso8601(text).map(i128::from)
}
