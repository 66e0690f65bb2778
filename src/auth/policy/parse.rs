//! Reading of policy documents: the JSON, the elements of a statement, their values.

use crate::auth::policy::action::ActionSet;
use crate::auth::policy::condition::{Condition, Operator};
use crate::auth::policy::json::Json;
use crate::auth::policy::key::ConditionKey;
use crate::auth::policy::public;
use crate::auth::policy::template::Template;
use crate::auth::policy::{
    Effect, Kind, Named, Policy, PolicyError, Principals, Resources, Statement, Version,
};
use crate::base::limits::{BUCKET_POLICY_BYTES_MAX, IDENTITY_POLICY_BYTES_MAX};

/// Services whose actions identity policies may name.
const SERVICES: [&str; 2] = ["s3", "ringcask"];

type Members = Vec<(String, Json)>;

impl Policy {
    /// Reads a document of at most [`BUCKET_POLICY_BYTES_MAX`] or [`IDENTITY_POLICY_BYTES_MAX`] bytes.
    ///
    /// What this accepts is evaluated to the letter. Whether a bucket may have it is asked of
    /// [`crate::auth::policy::bucket::check`].
    pub fn parse(text: &[u8], kind: Kind) -> Result<Self, PolicyError> {
        let bytes_max = match kind {
            Kind::Identity => IDENTITY_POLICY_BYTES_MAX,
            Kind::Bucket => BUCKET_POLICY_BYTES_MAX,
        };
        if text.len() > bytes_max {
            return Err(PolicyError::new("Policy exceeds the maximum allowed document size."));
        }
        if !text.trim_ascii_start().starts_with(b"{") {
            let message = "Policies must be valid JSON and the first byte must be '{'";
            return Err(PolicyError::new(message));
        }
        let document =
            Json::parse(text).map_err(|_| PolicyError::new("This policy contains invalid Json"))?;
        let Json::Object(members) = document else { return Err(syntax()) };
        let mut version = Version::default();
        let mut statements = None;
        for (name, value) in members {
            match (name.as_str(), value) {
                ("Version", value) => version = version_of(&value)?,
                ("Id", Json::Text(_)) => {}
                ("Statement", value) => statements = Some(value),
                ("Id", _) => return Err(syntax()),
                _ => return Err(PolicyError::new(format!("Unknown field {name}"))),
            }
        }
        let statements = match statements.ok_or_else(|| missing("Statement"))? {
            Json::List(statements) => statements,
            statement @ Json::Object(_) => vec![statement],
            _ => return Err(syntax()),
        };
        if statements.is_empty() {
            return Err(PolicyError::new("Could not parse the policy: Statement is empty!"));
        }
        let mut ids = Vec::new();
        let statements = statements
            .into_iter()
            .map(|statement| match statement {
                Json::Object(members) => Reader { kind, version }.statement(members, &mut ids),
                _ => Err(syntax()),
            })
            .collect::<Result<Vec<_>, _>>()?;
        let is_public = statements.iter().any(public::is_public);
        Ok(Self { version, statements, is_public })
    }
}

fn syntax() -> PolicyError {
    PolicyError::new("Invalid policy syntax.")
}

fn missing(name: &str) -> PolicyError {
    PolicyError::new(format!("Missing required field {name}"))
}

fn version_of(value: &Json) -> Result<Version, PolicyError> {
    match value {
        Json::Text(text) if text == "2012-10-17" => Ok(Version::V2012),
        Json::Text(text) if text == "2008-10-17" => Ok(Version::V2008),
        _ => Err(PolicyError::new("The policy must contain a valid version string")),
    }
}

/// One text, or a list of one or more.
fn texts(value: Json) -> Result<Vec<String>, PolicyError> {
    match value {
        Json::Text(text) => Ok(vec![text]),
        Json::List(items) if !items.is_empty() => items
            .into_iter()
            .map(|item| match item {
                Json::Text(text) => Ok(text),
                _ => Err(syntax()),
            })
            .collect(),
        _ => Err(syntax()),
    }
}

/// The elements of a statement while they are gathered.
#[derive(Default)]
struct Elements {
    effect: Option<Effect>,
    principals: Option<Principals>,
    actions: Option<(bool, Vec<String>)>,
    resources: Option<Resources>,
    conditions: Vec<Condition>,
}

/// Fills an element that may stand once, in its plain or in its `Not` form.
fn set<T>(slot: &mut Option<T>, value: T) -> Result<(), PolicyError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(syntax()),
    }
}

struct Reader {
    kind: Kind,
    version: Version,
}

impl Reader {
    fn statement(&self, members: Members, ids: &mut Vec<String>) -> Result<Statement, PolicyError> {
        let mut found = Elements::default();
        for (name, value) in members {
            let is_not = name.starts_with("Not");
            match (name.as_str(), value) {
                ("Sid", Json::Text(id)) => {
                    if ids.contains(&id) {
                        let message = "Statement IDs (SID) in a single policy must be unique.";
                        return Err(PolicyError::new(message));
                    }
                    ids.extend((!id.is_empty()).then_some(id));
                }
                ("Effect", Json::Text(text)) => set(&mut found.effect, effect_of(&text)?)?,
                ("Principal" | "NotPrincipal", _) if self.kind == Kind::Identity => {
                    return Err(PolicyError::new("Policy document should not specify a principal."));
                }
                ("Principal" | "NotPrincipal", value) => {
                    let named = principals_of(value)?;
                    set(&mut found.principals, Principals { is_not, named })?;
                }
                ("Action" | "NotAction", value) => set(&mut found.actions, (is_not, texts(value)?))?,
                ("Resource" | "NotResource", value) => {
                    let patterns = self.resources(texts(value)?)?;
                    set(&mut found.resources, Resources { is_not, patterns })?;
                }
                ("Condition", Json::Object(block)) => found.conditions = self.conditions(block)?,
                ("Sid" | "Effect" | "Condition", _) => return Err(syntax()),
                _ => return Err(PolicyError::new(format!("Unknown field {name}"))),
            }
        }
        self.finish(found)
    }

    fn finish(&self, found: Elements) -> Result<Statement, PolicyError> {
        let effect = found.effect.ok_or_else(|| missing("Effect"))?;
        if self.kind == Kind::Bucket && found.principals.is_none() {
            return Err(missing("Principal"));
        }
        let is_not_principal = found.principals.as_ref().is_some_and(|principals| principals.is_not);
        if is_not_principal && effect == Effect::Allow {
            // AWS: "Using it with Allow is not supported"; it would let in whoever is to come.
            return Err(PolicyError::new("Allow with NotPrincipal is not allowed."));
        }
        let (is_not, patterns) = found.actions.ok_or_else(|| missing("Action"))?;
        let mut named = ActionSet::default();
        for pattern in &patterns {
            named.extend(self.actions(pattern)?);
        }
        let actions = if is_not { named.complement() } else { named };
        Ok(Statement {
            effect,
            principals: found.principals,
            actions,
            action_patterns: if is_not { Vec::new() } else { patterns },
            resources: found.resources.ok_or_else(|| missing("Resource"))?,
            conditions: found.conditions,
        })
    }

    /// The actions of a pattern, of which there must be some.
    fn actions(&self, pattern: &str) -> Result<ActionSet, PolicyError> {
        let invalid = || match self.kind {
            Kind::Bucket => PolicyError::new("Policy has invalid action"),
            Kind::Identity => PolicyError::new(format!("Policy has invalid action {pattern}")),
        };
        let is_known = pattern == "*"
            || pattern.split_once(':').is_some_and(|(service, _)| {
                SERVICES.iter().any(|known| service.eq_ignore_ascii_case(known))
                    && (self.kind == Kind::Identity || service.eq_ignore_ascii_case("s3"))
            });
        let actions = ActionSet::matching(pattern);
        if is_known && !actions.is_empty() { Ok(actions) } else { Err(invalid()) }
    }

    fn resources(&self, texts: Vec<String>) -> Result<Vec<Template>, PolicyError> {
        texts
            .into_iter()
            .map(|text| {
                let is_arn = text == "*" || text.starts_with("arn:aws:s3:::");
                let template = Template::parse(&text, self.version);
                match (template, self.kind) {
                    (Ok(template), _) if is_arn => Ok(template),
                    (_, Kind::Bucket) => Err(PolicyError::new("Policy has invalid resource")),
                    (Err(variable), _) => Err(PolicyError::new(format!("Unknown variable {variable}"))),
                    (Ok(_), Kind::Identity) => Err(PolicyError::new(format!(
                        "Resource {text} must be \"*\" or begin with \"arn:aws:s3:::\"."
                    ))),
                }
            })
            .collect()
    }

    fn conditions(&self, block: Members) -> Result<Vec<Condition>, PolicyError> {
        let mut conditions = Vec::new();
        for (name, keys) in block {
            let operator = Operator::parse(&name)
                .ok_or_else(|| PolicyError::new(format!("Invalid Condition type : {name}")))?;
            let Json::Object(keys) = keys else { return Err(syntax()) };
            for (name, values) in keys {
                let key = ConditionKey::parse(&name).ok_or_else(|| {
                    PolicyError::new(format!("Policy has an invalid condition key - {name}"))
                })?;
                let operands = condition_values(values)?
                    .iter()
                    .map(|text| {
                        operator.operand(text, self.version).map_err(|text| {
                            PolicyError::new(format!("Invalid Condition value for {name}: {text}"))
                        })
                    })
                    .collect::<Result<Vec<_>, _>>()?;
                conditions.push(Condition { operator, key, operands });
            }
        }
        Ok(conditions)
    }
}

/// The values of a condition: texts, numbers and truth values are all texts.
fn condition_values(values: Json) -> Result<Vec<String>, PolicyError> {
    let values = match values {
        Json::List(values) if !values.is_empty() => values,
        Json::List(_) => return Err(syntax()),
        value => vec![value],
    };
    values
        .into_iter()
        .map(|value| match value {
            Json::Text(text) | Json::Number(text) => Ok(text),
            Json::Bool(value) => Ok(value.to_string()),
            _ => Err(syntax()),
        })
        .collect()
}

fn effect_of(text: &str) -> Result<Effect, PolicyError> {
    match text {
        "Allow" => Ok(Effect::Allow),
        "Deny" => Ok(Effect::Deny),
        _ => Err(PolicyError::new(format!("Invalid effect: {text}"))),
    }
}

/// Reads `"*"` or an object of kinds of principals. Services, roles and federated users don't exist here. A
/// service is refused by name, because AWS takes it: what is granted to it would never be used.
fn principals_of(value: Json) -> Result<Vec<Named>, PolicyError> {
    let invalid = || PolicyError::new("Invalid principal in policy");
    let kinds = match value {
        Json::Text(text) if text == "*" => return Ok(vec![Named::Anyone]),
        Json::Object(kinds) if !kinds.is_empty() => kinds,
        _ => return Err(invalid()),
    };
    let mut named = Vec::new();
    for (kind, value) in kinds {
        for text in texts(value).map_err(|_| invalid())? {
            named.push(match kind.as_str() {
                "AWS" => aws_principal(&text).ok_or_else(invalid)?,
                "CanonicalUser" => Named::Canonical(text),
                "Service" if is_service(&text) => {
                    let message = format!("There is no service {text} here that a policy could be about.");
                    return Err(PolicyError::unsupported(message));
                }
                _ => return Err(invalid()),
            });
        }
    }
    Ok(named)
}

fn aws_principal(text: &str) -> Option<Named> {
    let is_account = |id: &str| id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_digit());
    if text == "*" {
        return Some(Named::Anyone);
    }
    if is_account(text) {
        return Some(Named::Account(text.to_owned()));
    }
    let (account, resource) = text.strip_prefix("arn:aws:iam::")?.split_once(':')?;
    if !is_account(account) {
        return None;
    }
    match resource.strip_prefix("user/") {
        None if resource == "root" => Some(Named::Account(account.to_owned())),
        Some(name) if !name.is_empty() && !name.contains(['*', '?']) => Some(Named::User(text.to_owned())),
        _ => None,
    }
}

/// Whether a text is the name of a service, as AWS forms them: `logging.s3.amazonaws.com`.
fn is_service(text: &str) -> bool {
    let name = text.strip_suffix(".amazonaws.com").or_else(|| text.strip_suffix(".amazonaws.com.cn"));
    name.is_some_and(|name| {
        let is_label = |label: &str| {
            let mut bytes = label.bytes();
            !label.is_empty()
                && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        };
        name.split('.').all(is_label)
    })
}
