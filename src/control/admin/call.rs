//! One request of the admin API, and what its sender may do.

use std::borrow::Cow;
use std::rc::Rc;

use serde::Deserialize;

use super::error::AdminError;
use crate::auth::directory::change::Refusal;
use crate::auth::directory::{Directory, Holder};
use crate::auth::policy::action::Action;
use crate::auth::policy::decide::is_allowed_without_bucket;
use crate::auth::policy::key::{ConditionKey, KeyName};
use crate::auth::policy::{Attempt, Context, Undecided, Value};
use crate::auth::principal::Principal;
use crate::http::{Query, date};
use crate::io::TimestampMs;
use crate::net::Peer;
use crate::s3::error::{Code, S3Error};
use crate::s3::journal::Note;

/// A request whose signature and body were checked.
pub struct Call<'a> {
    pub principal: Rc<Principal>,
    pub directory: Rc<Directory>,
    pub peer: Peer,
    pub now: TimestampMs,
    pub method: &'a str,
    /// Decoded, without the prefix.
    pub path: Vec<String>,
    pub query: Query,
    pub body: Vec<u8>,
    /// Where it is written down what the sender asked for.
    pub note: Option<Rc<Note>>,
}

impl Call<'_> {
    /// Value of a query parameter, if it has one.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query
            .get(name)
            .and_then(|value| std::str::from_utf8(value).ok())
            .filter(|value| !value.is_empty())
    }

    /// The body, if it is JSON of this form.
    pub fn read<T: for<'de> Deserialize<'de>>(&self) -> Result<T, AdminError> {
        let body: &[u8] = if self.body.is_empty() { b"{}" } else { &self.body };
        // The parser's message names fields and positions but quotes no strings that could be secrets.
        serde_json::from_slice(body)
            .map_err(|error| AdminError::bad_request(format!("the body does not fit: {}", safe(&error))))
    }

    /// Refuses a sender whose policies don't allow `action`: roots need none.
    pub fn allow(&self, action: Action) -> Result<(), AdminError> {
        self.note_action(action);
        let attempt =
            Attempt { principal: Some(&*self.principal), action, bucket: "", key: "", context: self };
        // Nothing of an object can be missing where there is none.
        if is_allowed_without_bucket(&attempt) == Ok(true) { Ok(()) } else { Err(denied()) }
    }

    /// Refuses a sender that is not of the operator's account, or may not do `action` there.
    pub fn allow_operator(&self, action: Action) -> Result<(), AdminError> {
        self.note_action(action);
        if self.is_operator() { self.allow(action) } else { Err(denied()) }
    }

    fn note_action(&self, action: Action) {
        if let Some(note) = &self.note {
            note.asks_for(action.name());
        }
    }

    /// The account that the request is about, if the sender may do `action` in it.
    pub fn account(&self, action: Action) -> Result<String, AdminError> {
        self.allow(action)?;
        let own = || Ok(self.principal.account_id.clone());
        let Some(named) = self.parameter("account") else { return own() };
        let found = self.directory.account_named(named);
        match found {
            Some(account) if account.id == self.principal.account_id => own(),
            // Others don't learn which accounts there are.
            _ if !self.is_operator() => Err(denied()),
            Some(account) => Ok(account.id.clone()),
            None => Err(Refusal::not_found("account", named).into()),
        }
    }

    /// Refuses a sender that may not change the keys of `holder`. Users don't get hold of their own account's
    /// root: their policies would no longer bind them.
    pub fn allow_keys(&self, holder: &Holder) -> Result<(), AdminError> {
        let is_own_root = holder.user.is_none() && holder.account_id == self.principal.account_id;
        if is_own_root && !self.principal.is_root() { Err(denied()) } else { Ok(()) }
    }

    /// Whether an access key belongs to an account that the sender may know of.
    pub fn may_know(&self, holder: &Holder) -> bool {
        self.is_operator() || holder.account_id == self.principal.account_id
    }

    fn is_operator(&self) -> bool {
        self.principal.account_id == self.directory.operator_account()
    }
}

fn denied() -> AdminError {
    S3Error::new(Code::AccessDenied).into()
}

/// What is wrong with JSON, without what was in it.
fn safe(error: &serde_json::Error) -> String {
    let place = format!("line {}, column {}", error.line(), error.column());
    match error.classify() {
        serde_json::error::Category::Data => {
            let text = error.to_string();
            // "unknown field `x`, expected …" and "missing field `x`" help and hold no values.
            let is_about_fields = text.starts_with("unknown field") || text.starts_with("missing field");
            if is_about_fields { text } else { format!("a value has the wrong type at {place}") }
        }
        _ => format!("it is not JSON at {place}"),
    }
}

impl Context for Call<'_> {
    fn value(&self, key: &ConditionKey) -> Result<Value<'_>, Undecided> {
        let one = |text: String| Value::One(Cow::Owned(text));
        Ok(match key.name {
            KeyName::CurrentTime => one(date::iso8601(self.now)),
            KeyName::EpochTime => one((self.now / 1000).to_string()),
            KeyName::SecureTransport => one(self.peer.tls.is_some().to_string()),
            KeyName::SourceIp => one(self.peer.address.ip().to_canonical().to_string()),
            _ => Value::Absent,
        })
    }
}
