//! Identities as the admin API shows them. Secrets are in none of these.

use serde_json::{Value, json};

use crate::auth::directory::{AccessKey, Account, Directory, Group, Holder, ManagedPolicy, User};
use crate::http::{Response, date};
use crate::io::TimestampMs;

pub fn json_response(status: u16, value: &Value) -> Response {
    Response::new(status).with_header("Content-Type", "application/json").with_body(value.to_string())
}

/// A moment as ISO 8601; null if it is not known.
pub fn moment(time: TimestampMs) -> Value {
    if time == 0 { Value::Null } else { json!(date::iso8601(time)) }
}

pub fn account(account: &Account) -> Value {
    json!({
        "id": account.id,
        "canonicalId": account.canonical_id,
        "name": account.name,
        "email": account.email,
        "created": moment(account.created),
    })
}

pub fn user(user: &User) -> Value {
    json!({
        "account": user.account_id,
        "name": user.name,
        "id": user.id,
        "arn": Holder::user(&user.account_id, &user.name).arn(),
        "created": moment(user.created),
        "groups": user.groups,
        "policies": user.policies,
        "keys": user.keys.len(),
    })
}

pub fn group(directory: &Directory, group: &Group) -> Value {
    let is_member = |user: &&std::rc::Rc<User>| user.groups.contains(&group.name);
    let members: Vec<&str> =
        directory.users(&group.account_id).filter(is_member).map(|user| user.name.as_str()).collect();
    json!({
        "account": group.account_id,
        "name": group.name,
        "created": moment(group.created),
        "policies": group.policies,
        "members": members,
    })
}

/// A policy; its document only where it is asked for by name.
pub fn policy(policy: &ManagedPolicy, with_document: bool) -> Value {
    let is_builtin = policy.account_id.is_empty();
    let owner = if is_builtin { "aws" } else { policy.account_id.as_str() };
    let mut view = json!({
        "name": policy.name,
        "arn": format!("arn:aws:iam::{owner}:policy/{}", policy.name),
        "builtIn": is_builtin,
        "created": moment(policy.created),
        "updated": moment(policy.updated),
    });
    if with_document {
        view["document"] = json!(policy.document);
    }
    view
}

pub fn key(holder: &Holder, key: &AccessKey) -> Value {
    json!({
        "accessKeyId": key.id,
        "account": holder.account_id,
        "user": holder.user,
        "active": key.is_active,
        "created": moment(key.created),
        "rotated": key.rotated.map_or(Value::Null, moment),
    })
}
