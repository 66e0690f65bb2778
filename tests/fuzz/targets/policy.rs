//! Policies: any bytes are read or refused, JSON that says the same is the same policy, and a small evaluator
//! that works on the JSON comes to the same verdicts.

use std::borrow::Cow;
use std::rc::Rc;

use ringcask::auth::policy::action::{Action, Scope};
use ringcask::auth::policy::decide::{Guard, ObjectAcl, is_allowed};
use ringcask::auth::policy::key::ConditionKey;
use ringcask::auth::policy::{Attempt, Context, Kind, Policy, Undecided, Value, Verdict, bucket};
use ringcask::auth::principal::{Accounts, Principal};
use serde_json::Value as Json;

const OWNER: &str = "111122223333";
const BUCKET: &str = "bucket";

const ACTIONS: [(&str, &str); 6] = [
    ("s3:GetObject", "a/b"),
    ("s3:PutObject", "é?*"),
    ("s3:DeleteObject", "secret/x"),
    ("s3:ListBucket", ""),
    ("s3:PutBucketPolicy", ""),
    ("s3:GetObjectTagging", "a"),
];

/// What requests say; other keys they don't have.
const FACTS: [(&str, &str); 9] = [
    ("aws:referer", "http://example.com/a"),
    ("aws:useragent", "agent"),
    ("aws:sourceip", "192.0.2.7"),
    ("aws:securetransport", "false"),
    ("s3:prefix", "a/"),
    ("s3:max-keys", "10"),
    ("s3:x-amz-acl", "public-read"),
    ("s3:authtype", "REST-HEADER"),
    ("s3:signatureage", "1500"),
];

pub fn run(data: &[u8]) {
    for kind in [Kind::Bucket, Kind::Identity] {
        let Ok(policy) = Policy::parse(data, kind) else { continue };
        assert_eq!(Policy::parse(data, kind).as_ref(), Ok(&policy));
        let document: Json = serde_json::from_slice(data).expect("a policy is JSON");
        // serde_json sorts the members of objects, and writes numbers in its own way.
        let again = Policy::parse(&serde_json::to_vec(&document).unwrap(), kind);
        if let Ok(again) = &again {
            assert_eq!(again.is_public(), policy.is_public());
        }
        let _ = bucket::check(&policy, BUCKET, &Nobody);
        for principal in [None, Some(root(OWNER)), Some(user())] {
            for (action, key) in ACTIONS {
                let asked = Asked { principal: principal.as_ref(), action, key };
                let verdict = policy.judge(&asked.attempt(&Facts)).expect("all is known");
                if let Ok(again) = &again {
                    assert_eq!(again.judge(&asked.attempt(&Facts)), Ok(verdict), "{action} of the same JSON");
                }
                if let Some(expected) = (Reference { kind, asked: &asked }).judge(&document) {
                    assert_eq!(verdict, expected, "{kind:?} {action} {principal:?}");
                }
                if let Ok(early) = policy.judge(&asked.attempt(&Nothing)) {
                    assert_eq!(early, verdict, "what is decided early stays so");
                }
                if kind == Kind::Bucket {
                    guard(&policy, &asked, verdict);
                }
            }
        }
    }
}

/// The decision of a bucket with that policy alone.
fn guard(policy: &Policy, asked: &Asked<'_>, verdict: Verdict) {
    let guard = Guard {
        owner: OWNER,
        policy: Some(policy),
        acl: None,
        ignore_public_acls: false,
        restrict_public_buckets: true,
    };
    let is_allowed = is_allowed(&asked.attempt(&Facts), &guard, ObjectAcl::None).expect("all is known");
    let is_root = asked.principal.is_some_and(Principal::is_root);
    if asked.principal.is_none() {
        assert_eq!(is_allowed, verdict == Verdict::Allowed && !policy.is_public());
    } else if is_root && asked.action == "s3:PutBucketPolicy" {
        assert!(is_allowed);
    } else {
        assert!(!(is_allowed && verdict == Verdict::Denied), "a denial beats everything");
    }
}

struct Nobody;

impl Accounts for Nobody {
    fn canonical_id(&self, account_id: &str) -> Option<String> {
        (account_id == OWNER).then(|| "0a".to_owned())
    }

    fn account_id(&self, _: &str) -> Option<String> {
        None
    }

    fn canonical_id_of_email(&self, _: &str) -> Option<String> {
        None
    }

    fn has_user(&self, arn: &str) -> bool {
        arn.ends_with("user/Dave")
    }
}

fn root(account_id: &str) -> Principal {
    Principal::root(account_id, "0a")
}

fn user() -> Principal {
    let policy =
        br#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:Get*","Resource":"*"}}"#;
    Principal {
        account_id: "444455556666".to_owned(),
        canonical_id: "0b".to_owned(),
        arn: "arn:aws:iam::444455556666:user/Dave".to_owned(),
        user_name: Some("Dave".to_owned()),
        user_id: "AIDADave".to_owned(),
        policies: vec![Rc::new(Policy::parse(policy, Kind::Identity).expect("a policy"))],
    }
}

struct Facts;

impl Context for Facts {
    fn value(&self, key: &ConditionKey) -> Result<Value<'_>, Undecided> {
        let is_key = |text: &str| ConditionKey::parse(text).as_ref() == Some(key);
        Ok(match FACTS.iter().find(|(name, _)| is_key(name)) {
            Some((_, value)) => Value::One(Cow::Borrowed(value)),
            None => Value::Absent,
        })
    }
}

/// A request of which nothing is known yet.
struct Nothing;

impl Context for Nothing {
    fn value(&self, _: &ConditionKey) -> Result<Value<'_>, Undecided> {
        Err(Undecided)
    }
}

struct Asked<'a> {
    principal: Option<&'a Principal>,
    action: &'static str,
    key: &'static str,
}

impl Asked<'_> {
    fn attempt<'a>(&'a self, context: &'a dyn Context) -> Attempt<'a> {
        let action = Action::named(self.action);
        Attempt { principal: self.principal, action, bucket: BUCKET, key: self.key, context }
    }

    fn resource(&self) -> String {
        match Action::named(self.action).scope() {
            Scope::Object => format!("arn:aws:s3:::{BUCKET}/{}", self.key),
            _ => format!("arn:aws:s3:::{BUCKET}"),
        }
    }

    fn user_id(&self) -> &str {
        self.principal.map_or("anonymous", |principal| &principal.user_id)
    }

    /// The value of a condition key, in any case; `Err` for those that are not modelled.
    fn fact(&self, name: &str) -> Option<Option<&str>> {
        let name = name.to_ascii_lowercase();
        match name.as_str() {
            "aws:userid" => Some(Some(self.user_id())),
            "aws:username" => Some(self.principal.and_then(|principal| principal.user_name.as_deref())),
            "aws:principalarn" => Some(self.principal.map(|principal| principal.arn.as_str())),
            "aws:principalaccount" => Some(self.principal.map(|principal| principal.account_id.as_str())),
            "aws:principaltype" | "aws:viaawsservice" | "aws:principalisawsservice" => None,
            _ => Some(FACTS.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)),
        }
    }
}

/// Evaluates the JSON of a policy that was accepted. What it does not model makes it say nothing.
struct Reference<'a> {
    kind: Kind,
    asked: &'a Asked<'a>,
}

impl Reference<'_> {
    fn judge(&self, document: &Json) -> Option<Verdict> {
        let has_variables = document["Version"] == "2012-10-17";
        let mut verdict = Verdict::Silent;
        let statements = match &document["Statement"] {
            Json::Array(statements) => statements.as_slice(),
            statement => std::slice::from_ref(statement),
        };
        for statement in statements {
            verdict = verdict.max(self.statement(statement, has_variables)?);
        }
        Some(verdict)
    }

    fn statement(&self, statement: &Json, has_variables: bool) -> Option<Verdict> {
        let either = |name: &str| match (statement.get(name), statement.get(format!("Not{name}"))) {
            (Some(value), _) => (value, false),
            (None, value) => (value.expect("one of both"), true),
        };
        let (actions, is_not) = either("Action");
        let action = self.asked.action.to_ascii_lowercase();
        let is_named = texts(actions).iter().any(|text| like(&plain(&text.to_ascii_lowercase()), &action));
        let (resources, is_not_resource) = either("Resource");
        let mut is_covered = false;
        for text in texts(resources) {
            let pattern = if has_variables { self.filled(text)? } else { Some(plain(text)) };
            is_covered |= pattern.is_some_and(|pattern| like(&pattern, &self.asked.resource()));
        }
        let mut holds = true;
        for (operator, keys) in statement.get("Condition").and_then(Json::as_object).into_iter().flatten() {
            for (key, values) in keys.as_object()? {
                holds &= self.condition(operator, key, values, has_variables)?;
            }
        }
        let allowed = match self.kind {
            Kind::Identity => Some(Verdict::Allowed),
            Kind::Bucket => {
                let (named, is_not) = either("Principal");
                self.reach(named, is_not)
            }
        };
        Some(match allowed {
            Some(allowed) if is_named != is_not && is_covered != is_not_resource && holds => {
                if statement["Effect"] == "Deny" { Verdict::Denied } else { allowed }
            }
            _ => Verdict::Silent,
        })
    }

    /// How a principal is meant, if it is.
    fn reach(&self, named: &Json, is_not: bool) -> Option<Verdict> {
        let principal = self.asked.principal;
        let (mut itself, mut account) = (named == "*", named == "*");
        for (kind, values) in named.as_object().into_iter().flatten() {
            for text in texts(values) {
                let is = |id: &str| text == id || text == format!("arn:aws:iam::{id}:root");
                let anyone = kind == "AWS" && text == "*";
                account |= anyone
                    || principal.is_some_and(|principal| match kind.as_str() {
                        "AWS" => is(&principal.account_id),
                        _ => text == principal.canonical_id,
                    });
                itself |= anyone || kind == "AWS" && principal.is_some_and(|principal| principal.arn == text);
            }
        }
        let is_root = principal.is_some_and(Principal::is_root);
        // An account stands for its root.
        itself |= account && is_root;
        match (is_not, account, itself) {
            (true, true, true) => None,
            (true, ..) => Some(Verdict::Allowed),
            (false, _, true) => Some(Verdict::Allowed),
            (false, true, false) => Some(Verdict::AllowedToAccount),
            (false, false, false) => None,
        }
    }

    fn condition(&self, operator: &str, key: &str, values: &Json, has_variables: bool) -> Option<bool> {
        let value = self.asked.fact(key)?;
        let (quantifier, name) = operator.split_once(':').unwrap_or(("", operator));
        let (name, if_exists) = match name.strip_suffix("IfExists") {
            Some(name) => (name, true),
            None => (name, false),
        };
        let operands: Vec<String> = match values {
            Json::Array(values) => values.iter().map(operand).collect::<Option<_>>()?,
            value => vec![operand(value)?],
        };
        if name == "Null" {
            return Some(operands.iter().any(|text| text.eq_ignore_ascii_case("true") == value.is_none()));
        }
        let is_negated = name.starts_with("StringNot");
        let Some(value) = value else {
            return Some(match quantifier {
                "ForAllValues" => true,
                "ForAnyValue" => if_exists,
                _ => is_negated || if_exists,
            });
        };
        let mut fits = false;
        for text in &operands {
            let tokens = if has_variables { self.filled(text)? } else { Some(plain(text)) };
            let literal =
                tokens.as_ref().map(|tokens| tokens.iter().map(Token::character).collect::<String>());
            fits |= match name {
                "StringEquals" | "StringNotEquals" => literal.is_some_and(|text| text == value),
                "StringLike" | "StringNotLike" => tokens.is_some_and(|tokens| like(&tokens, value)),
                "Bool" => text.eq_ignore_ascii_case(value),
                _ => return None,
            };
        }
        Some(fits != is_negated)
    }

    /// A text with variables filled in, of which some have no value; `None` for variables with a default.
    fn filled(&self, text: &str) -> Option<Option<Vec<Token>>> {
        let (mut tokens, mut rest) = (Vec::new(), text);
        while let Some((before, after)) = rest.split_once("${") {
            tokens.extend(plain(before));
            let (name, after) = after.split_once('}').expect("a policy that was accepted");
            rest = after;
            if ["*", "?", "$"].contains(&name) {
                tokens.extend(name.chars().map(Token::Literal));
                continue;
            }
            if name.contains(',') {
                return None;
            }
            match self.asked.fact(name.trim())? {
                Some(value) => tokens.extend(value.chars().map(Token::Literal)),
                None => return Some(None),
            }
        }
        tokens.extend(plain(rest));
        Some(Some(tokens))
    }
}

fn texts(value: &Json) -> Vec<&str> {
    match value {
        Json::Array(values) => values.iter().filter_map(Json::as_str).collect(),
        value => value.as_str().into_iter().collect(),
    }
}

/// An operand as text; `None` for numbers, which can be written in several ways.
fn operand(value: &Json) -> Option<String> {
    match value {
        Json::String(text) => Some(text.clone()),
        Json::Bool(value) => Some(value.to_string()),
        _ => None,
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Token {
    Literal(char),
    One,
    Many,
}

impl Token {
    fn character(&self) -> char {
        match self {
            Self::Literal(character) => *character,
            Self::One => '?',
            Self::Many => '*',
        }
    }
}

fn plain(text: &str) -> Vec<Token> {
    let token = |character| match character {
        '?' => Token::One,
        '*' => Token::Many,
        character => Token::Literal(character),
    };
    text.chars().map(token).collect()
}

/// Whether a text fits: by which beginnings of the pattern each beginning of the text fits.
fn like(pattern: &[Token], text: &str) -> bool {
    let mut fits = vec![false; pattern.len() + 1];
    fits[0] = true;
    let extend = |fits: &mut Vec<bool>| {
        for at in 0..pattern.len() {
            fits[at + 1] |= fits[at] && pattern[at] == Token::Many;
        }
    };
    extend(&mut fits);
    for character in text.chars() {
        let mut next = vec![false; pattern.len() + 1];
        for at in 0..pattern.len() {
            match pattern[at] {
                Token::Many => next[at + 1] |= fits[at] || fits[at + 1],
                Token::One => next[at + 1] |= fits[at],
                Token::Literal(wanted) => next[at + 1] |= fits[at] && wanted == character,
            }
        }
        extend(&mut next);
        fits = next;
    }
    fits[pattern.len()]
}
