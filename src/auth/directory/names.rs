//! What identities may be called, and what is made for those who don't choose.
//!
//! Source: AWS, "IAM and AWS STS quotas", and "IAM identifiers" for the forms of ids.

use super::change::Refusal;
use crate::base::limits::{
    ACCESS_KEY_ID_LENGTH_MAX, ACCESS_KEY_ID_LENGTH_MIN, ACCOUNT_NAME_LENGTH_MAX, EMAIL_LENGTH_MAX,
    IDENTITY_NAME_LENGTH_MAX, SECRET_KEY_LENGTH_MAX, SECRET_KEY_LENGTH_MIN,
};

/// As AWS makes access key ids: 20 characters.
const ACCESS_KEY_ID_RANDOM: usize = 16;

/// As AWS makes secrets: 40 characters. Of 62 kinds each, that is 238 bits.
const SECRET_LENGTH: usize = 40;

/// Letters and digits, none of which needs quotes in a shell or an encoding in a URL.
pub const ALPHANUMERIC: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// The characters of AWS's ids (base 32).
const ID_ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// Fills a buffer with unpredictable bytes.
pub type Random<'a> = dyn Fn(&mut [u8]) + 'a;

/// Name of a user, group or policy.
pub fn check_name(kind: &str, name: &str) -> Result<(), Refusal> {
    let fits = (1..=IDENTITY_NAME_LENGTH_MAX).contains(&name.len());
    if fits && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+=,.@_-".contains(&byte)) {
        return Ok(());
    }
    Err(Refusal::invalid(format!(
        "a {kind}'s name has 1 to {IDENTITY_NAME_LENGTH_MAX} letters, digits and any of + = , . @ _ -"
    )))
}

/// Name of an account: shown in listings and ACLs. One of twelve digits would be taken for an id.
pub fn check_account_name(name: &str) -> Result<(), Refusal> {
    let visible = |name: &str| !name.chars().any(char::is_control) && name.trim() == name;
    let is_id = name.len() == 12 && name.bytes().all(|byte| byte.is_ascii_digit());
    if (1..=ACCOUNT_NAME_LENGTH_MAX).contains(&name.len()) && visible(name) && !is_id && !name.contains('/') {
        return Ok(());
    }
    Err(Refusal::invalid(format!(
        "an account's name has 1 to {ACCOUNT_NAME_LENGTH_MAX} bytes, no '/', no control characters, no spaces \
         around it, and is not of twelve digits"
    )))
}

/// An e-mail address, so far as ACLs compare it; empty for none.
pub fn check_email(email: &str) -> Result<(), Refusal> {
    let is_address = |email: &str| {
        email.len() <= EMAIL_LENGTH_MAX
            && email.bytes().all(|byte| byte.is_ascii_graphic())
            && email.split_once('@').is_some_and(|(local, domain)| {
                !local.is_empty() && !domain.is_empty() && !domain.contains('@')
            })
    };
    let fits = email.is_empty() || is_address(email);
    fits.then_some(()).ok_or_else(|| Refusal::invalid("this is not an e-mail address"))
}

/// What can't be signed with is refused: '/' ends the id in a credential scope, '=' and ',' end it in an
/// Authorization header.
pub fn check_access_key_id(id: &str) -> Result<(), Refusal> {
    let fits = (ACCESS_KEY_ID_LENGTH_MIN..=ACCESS_KEY_ID_LENGTH_MAX).contains(&id.len());
    if fits && id.bytes().all(|byte| byte.is_ascii_graphic() && !b"/=,".contains(&byte)) {
        return Ok(());
    }
    Err(Refusal::invalid(format!(
        "an access key id has {ACCESS_KEY_ID_LENGTH_MIN} to {ACCESS_KEY_ID_LENGTH_MAX} visible ASCII characters \
         other than '/', '=' and ','"
    )))
}

/// Whether a secret is long enough and can be typed.
pub fn check_secret(secret: &str) -> Result<(), Refusal> {
    let fits = (SECRET_KEY_LENGTH_MIN..=SECRET_KEY_LENGTH_MAX).contains(&secret.len());
    if fits && !secret.chars().any(char::is_control) {
        return Ok(());
    }
    Err(Refusal::invalid(format!(
        "a secret access key has {SECRET_KEY_LENGTH_MIN} to {SECRET_KEY_LENGTH_MAX} bytes without control characters"
    )))
}

/// `AKIA` and 16 characters: 80 random bits.
pub fn make_access_key_id(random: &Random<'_>) -> String {
    format!("AKIA{}", text(ID_ALPHABET, ACCESS_KEY_ID_RANDOM, random))
}

pub fn make_secret(random: &Random<'_>) -> String {
    text(ALPHANUMERIC, SECRET_LENGTH, random)
}

/// `AIDA` and 17 characters.
pub fn make_user_id(random: &Random<'_>) -> String {
    format!("AIDA{}", text(ID_ALPHABET, 17, random))
}

/// Twelve digits, the first of which is not 0: the operator's are all 0.
pub fn make_account_id(random: &Random<'_>) -> String {
    text(b"123456789", 1, random) + &text(b"0123456789", 11, random)
}

/// 64 hex digits.
pub fn make_canonical_id(random: &Random<'_>) -> String {
    text(b"0123456789abcdef", 64, random)
}

/// Characters drawn evenly from `alphabet`: bytes that would favour its first letters are thrown away.
pub fn text(alphabet: &[u8], length: usize, random: &Random<'_>) -> String {
    let even = 256 / alphabet.len() * alphabet.len();
    let mut text = String::with_capacity(length);
    let mut bytes = [0; 64];
    while text.len() < length {
        random(&mut bytes);
        let drawn = bytes.iter().map(|byte| usize::from(*byte)).filter(|byte| *byte < even);
        text.extend(drawn.take(length - text.len()).map(|byte| char::from(alphabet[byte % alphabet.len()])));
    }
    text
}
