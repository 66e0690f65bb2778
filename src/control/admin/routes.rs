//! What each path and method of the admin API does.

use serde::Deserialize;
use serde_json::{Value, json};

use super::AdminService;
use super::buckets;
use super::call::Call;
use super::checkpoint;
use super::drain;
use super::error::AdminError;
use super::kms;
use super::log_level;
use super::progress;
use super::status;
use super::view::{self, json_response};
use crate::auth::directory::change::{Bearer, Change, KeyWish, Refusal, Write};
use crate::auth::directory::{AccessKey, Holder};
use crate::auth::policy::action::Action;
use crate::base::secret::Secret;
use crate::control::health::Audience;
use crate::http::Response;
use crate::io::Host;
use crate::s3::settings::OWNER;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewAccount {
    name: String,
    #[serde(default)]
    email: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewUser {
    name: String,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    policies: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewGroup {
    name: String,
    #[serde(default)]
    policies: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct NewKey {
    /// The account's root if there is none.
    user: Option<String>,
    access_key_id: Option<String>,
    secret_access_key: Option<Secret>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyState {
    active: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct NewSecret {
    secret_access_key: Option<Secret>,
}

type Answer = Result<Response, AdminError>;

/// Carries out one request. The caller has the turn: nothing changes meanwhile.
pub async fn run<H: Host>(service: &AdminService<H>, call: &Call<'_>) -> Answer {
    let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
    match (call.method, &path[..]) {
        ("GET", ["whoami"]) => Ok(whoami(call)),
        ("GET", ["health"]) => health(service, call).await,
        (_, ["log-level"]) => log_level::run(service, call),
        (_, ["accounts", ..]) => accounts(service, call, &path[1..]).await,
        (_, ["users", ..]) => users(service, call, &path[1..]).await,
        (_, ["groups", ..]) => groups(service, call, &path[1..]).await,
        (_, ["policies", ..]) => policies(service, call, &path[1..]).await,
        (_, ["keys", ..]) => keys(service, call, &path[1..]).await,
        (_, ["buckets", ..]) => buckets::run(service, call, &path[1..]).await,
        ("GET", ["status"]) => status::status(service, call).await,
        ("GET", ["config"]) => status::config(service, call),
        (_, ["drain"]) => drain::run(service, call),
        (_, ["checkpoint"]) => checkpoint::run(service, call),
        ("GET", ["progress"]) => progress::run(service, call).await,
        (_, ["kms", "keys", ..]) => kms::keys(service, call, &path[2..]).await,
        _ => Err(AdminError::no_such_route()),
    }
}

fn whoami(call: &Call<'_>) -> Response {
    if let Some(note) = &call.note {
        note.asks_for("Whoami");
    }
    let principal = &call.principal;
    let account = call.directory.account(&principal.account_id);
    let answer = json!({
        "arn": principal.arn,
        "account": principal.account_id,
        "accountName": account.map(|account| account.name.as_str()),
        "canonicalId": principal.canonical_id,
        "user": principal.user_name,
    });
    json_response(200, &answer)
}

/// What anybody is told, and whose data is damaged.
async fn health<H: Host>(service: &AdminService<H>, call: &Call<'_>) -> Answer {
    call.allow_operator(const { Action::named("ringcask:GetHealth") })?;
    Ok(json_response(200, &service.health.report(Audience::Operator).await.1))
}

async fn accounts<H: Host>(service: &AdminService<H>, call: &Call<'_>, path: &[&str]) -> Answer {
    let directory = &call.directory;
    let named = |name: &str| {
        directory.account_named(name).cloned().ok_or_else(|| Refusal::not_found("account", name))
    };
    match (call.method, path) {
        ("GET", []) => {
            call.allow_operator(const { Action::named("ringcask:ListAccounts") })?;
            let accounts: Vec<Value> = directory.accounts().map(|account| view::account(account)).collect();
            Ok(json_response(200, &json!({ "accounts": accounts })))
        }
        ("POST", []) => {
            call.allow_operator(const { Action::named("ringcask:CreateAccount") })?;
            let new: NewAccount = call.read()?;
            let (account, write) = service.change(call, |c| c.create_account(&new.name, &new.email))?;
            service.store(call, write).await?;
            Ok(json_response(201, &view::account(&account)))
        }
        ("GET", [name]) => {
            call.allow_operator(const { Action::named("ringcask:GetAccount") })?;
            Ok(json_response(200, &view::account(&*named(name)?)))
        }
        ("DELETE", [name]) => {
            call.allow_operator(const { Action::named("ringcask:DeleteAccount") })?;
            let id = &named(name)?.id;
            let buckets = service.engine.buckets();
            let owned = buckets
                .iter()
                .filter(|bucket| bucket.settings.get(OWNER).is_some_and(|owner| **owner == *id.as_bytes()));
            let write = service.change(call, |c| c.delete_account(id, owned.count()))?;
            service.store(call, write).await?;
            Ok(Response::new(204))
        }
        _ => Err(AdminError::no_such_route()),
    }
}

async fn users<H: Host>(service: &AdminService<H>, call: &Call<'_>, path: &[&str]) -> Answer {
    let directory = &call.directory;
    match (call.method, path) {
        ("GET", []) => {
            let account = call.account(const { Action::named("ringcask:ListUsers") })?;
            let users: Vec<Value> = directory.users(&account).map(|user| view::user(user)).collect();
            Ok(json_response(200, &json!({ "users": users })))
        }
        ("POST", []) => {
            let account = call.account(const { Action::named("ringcask:CreateUser") })?;
            let new: NewUser = call.read()?;
            if !new.groups.is_empty() {
                call.allow(const { Action::named("ringcask:AddUserToGroup") })?;
            }
            if !new.policies.is_empty() {
                call.allow(const { Action::named("ringcask:AttachUserPolicy") })?;
            }
            let (user, write) =
                service.change(call, |c| c.create_user(&account, &new.name, &new.groups, &new.policies))?;
            service.store(call, write).await?;
            Ok(json_response(201, &view::user(&user)))
        }
        ("GET", [name]) => {
            let account = call.account(const { Action::named("ringcask:GetUser") })?;
            let user = directory.user(&account, name).ok_or_else(|| Refusal::not_found("user", name))?;
            Ok(json_response(200, &view::user(user)))
        }
        ("DELETE", [name]) => {
            let account = call.account(const { Action::named("ringcask:DeleteUser") })?;
            let write = service.change(call, |c| c.delete_user(&account, name))?;
            service.store(call, write).await?;
            Ok(Response::new(204))
        }
        (_, [name, "policies", policy]) => {
            let actions = const {
                [Action::named("ringcask:AttachUserPolicy"), Action::named("ringcask:DetachUserPolicy")]
            };
            attachment(service, call, Bearer::User(name), policy, actions).await
        }
        _ => Err(AdminError::no_such_route()),
    }
}

async fn groups<H: Host>(service: &AdminService<H>, call: &Call<'_>, path: &[&str]) -> Answer {
    let directory = &call.directory;
    match (call.method, path) {
        ("GET", []) => {
            let account = call.account(const { Action::named("ringcask:ListGroups") })?;
            let groups = directory.groups(&account).map(|group| view::group(directory, group));
            Ok(json_response(200, &json!({ "groups": groups.collect::<Vec<Value>>() })))
        }
        ("POST", []) => {
            let account = call.account(const { Action::named("ringcask:CreateGroup") })?;
            let new: NewGroup = call.read()?;
            if !new.policies.is_empty() {
                call.allow(const { Action::named("ringcask:AttachGroupPolicy") })?;
            }
            let (group, write) =
                service.change(call, |c| c.create_group(&account, &new.name, &new.policies))?;
            service.store(call, write).await?;
            Ok(json_response(201, &view::group(directory, &group)))
        }
        ("GET", [name]) => {
            let account = call.account(const { Action::named("ringcask:GetGroup") })?;
            let group = directory.group(&account, name).ok_or_else(|| Refusal::not_found("group", name))?;
            Ok(json_response(200, &view::group(directory, group)))
        }
        ("DELETE", [name]) => {
            let account = call.account(const { Action::named("ringcask:DeleteGroup") })?;
            let write = service.change(call, |c| c.delete_group(&account, name))?;
            service.store(call, write).await?;
            Ok(Response::new(204))
        }
        ("PUT", [name, "members", user]) => {
            let account = call.account(const { Action::named("ringcask:AddUserToGroup") })?;
            if let Some(write) = service.change(call, |c| c.add_member(&account, name, user))? {
                service.store(call, write).await?;
            }
            Ok(Response::new(204))
        }
        ("DELETE", [name, "members", user]) => {
            let account = call.account(const { Action::named("ringcask:RemoveUserFromGroup") })?;
            let write = service.change(call, |c| c.remove_member(&account, name, user))?;
            service.store(call, write).await?;
            Ok(Response::new(204))
        }
        (_, [name, "policies", policy]) => {
            let actions = const {
                [Action::named("ringcask:AttachGroupPolicy"), Action::named("ringcask:DetachGroupPolicy")]
            };
            attachment(service, call, Bearer::Group(name), policy, actions).await
        }
        _ => Err(AdminError::no_such_route()),
    }
}

/// Attaches or detaches a policy.
async fn attachment<H: Host>(
    service: &AdminService<H>,
    call: &Call<'_>,
    bearer: Bearer<'_>,
    policy: &str,
    [attach, detach]: [Action; 2],
) -> Answer {
    match call.method {
        "PUT" => {
            let account = call.account(attach)?;
            if let Some(write) = service.change(call, |c| c.attach_policy(&account, bearer, policy))? {
                service.store(call, write).await?;
            }
        }
        "DELETE" => {
            let account = call.account(detach)?;
            let write = service.change(call, |c| c.detach_policy(&account, bearer, policy))?;
            service.store(call, write).await?;
        }
        _ => return Err(AdminError::no_such_route()),
    }
    Ok(Response::new(204))
}

async fn policies<H: Host>(service: &AdminService<H>, call: &Call<'_>, path: &[&str]) -> Answer {
    let directory = &call.directory;
    match (call.method, path) {
        ("GET", []) => {
            let account = call.account(const { Action::named("ringcask:ListPolicies") })?;
            let all = directory.builtin_policies().chain(directory.policies(&account));
            let policies: Vec<Value> = all.map(|policy| view::policy(policy, false)).collect();
            Ok(json_response(200, &json!({ "policies": policies })))
        }
        ("GET", [name]) => {
            let account = call.account(const { Action::named("ringcask:GetPolicy") })?;
            let policy =
                directory.policy(&account, name).ok_or_else(|| Refusal::not_found("policy", name))?;
            Ok(json_response(200, &view::policy(&policy, true)))
        }
        ("PUT", [name]) => {
            let account = call.account(const { Action::named("ringcask:CreatePolicy") })?;
            let document = std::str::from_utf8(&call.body)
                .map_err(|_| AdminError::bad_request("the document is not UTF-8"))?;
            let (policy, write) = service.change(call, |c| c.put_policy(&account, name, document))?;
            service.store(call, write).await?;
            Ok(json_response(200, &view::policy(&policy, false)))
        }
        ("DELETE", [name]) => {
            let account = call.account(const { Action::named("ringcask:DeletePolicy") })?;
            let write = service.change(call, |c| c.delete_policy(&account, name))?;
            service.store(call, write).await?;
            Ok(Response::new(204))
        }
        _ => Err(AdminError::no_such_route()),
    }
}

async fn keys<H: Host>(service: &AdminService<H>, call: &Call<'_>, path: &[&str]) -> Answer {
    match (call.method, path) {
        ("GET", []) => {
            let account = call.account(const { Action::named("ringcask:ListAccessKeys") })?;
            list_keys(call, &account)
        }
        ("POST", []) => {
            let account = call.account(const { Action::named("ringcask:CreateAccessKey") })?;
            let new: NewKey = call.read()?;
            let holder = Holder { account_id: account, user: new.user };
            call.allow_keys(&holder)?;
            let wish = KeyWish { id: new.access_key_id, secret: new.secret_access_key };
            let (key, write) = service.change(call, |c| c.create_key(&holder, wish))?;
            service.store(call, write).await?;
            Ok(json_response(201, &with_secret(&holder, &key)))
        }
        ("PUT", [id]) => {
            call.allow(const { Action::named("ringcask:UpdateAccessKey") })?;
            let holder = holder(call, id)?;
            let state: KeyState = call.read()?;
            let (key, write) = service.change(call, |c| c.set_key_active(id, state.active))?;
            service.store(call, write).await?;
            Ok(json_response(200, &view::key(&holder, &key)))
        }
        ("POST", [id, "rotate"]) => {
            call.allow(const { Action::named("ringcask:UpdateAccessKey") })?;
            let holder = holder(call, id)?;
            let new: NewSecret = call.read()?;
            let (key, write) = service.change(call, |c| c.rotate_key(id, new.secret_access_key))?;
            service.store(call, write).await?;
            Ok(json_response(200, &with_secret(&holder, &key)))
        }
        ("DELETE", [id]) => {
            call.allow(const { Action::named("ringcask:DeleteAccessKey") })?;
            holder(call, id)?;
            let write = service.change(call, |c| c.delete_key(id))?;
            service.store(call, write).await?;
            Ok(Response::new(204))
        }
        _ => Err(AdminError::no_such_route()),
    }
}

/// Keys of one user, or of all of an account: its root's first.
fn list_keys(call: &Call<'_>, account: &str) -> Answer {
    let directory = &call.directory;
    let keys: Vec<Value> = match call.parameter("user") {
        Some(name) => {
            directory.user(account, name).ok_or_else(|| Refusal::not_found("user", name))?;
            let holder = Holder::user(account, name);
            directory.keys(&holder).into_iter().map(|key| view::key(&holder, key)).collect()
        }
        None => {
            directory.account_keys(account).into_iter().map(|(holder, key)| view::key(holder, key)).collect()
        }
    };
    Ok(json_response(200, &json!({ "keys": keys })))
}

/// Whose key a request wants to change, if the sender may.
fn holder(call: &Call<'_>, id: &str) -> Result<Holder, AdminError> {
    let found = call.directory.key(id).map(|(holder, _)| holder).filter(|holder| call.may_know(holder));
    let holder = found.ok_or_else(|| Refusal::not_found("access key", id))?;
    call.allow_keys(holder)?;
    Ok(holder.clone())
}

/// The one time that a secret is shown.
fn with_secret(holder: &Holder, key: &AccessKey) -> Value {
    let mut view = view::key(holder, key);
    view["secretAccessKey"] = json!(key.secret.reveal());
    view
}

impl<H: Host> AdminService<H> {
    /// Asks what a change would write.
    fn change<T>(
        &self,
        call: &Call<'_>,
        ask: impl FnOnce(&Change<'_>) -> Result<T, Refusal>,
    ) -> Result<T, AdminError> {
        let change = Change {
            directory: &call.directory,
            now: call.now,
            random: &|bytes| self.engine.host().random(bytes),
            seal: &|context, secret| self.identities.seal(context, secret),
        };
        Ok(ask(&change)?)
    }

    /// Stores a change; when it returns, every core uses it.
    async fn store(&self, call: &Call<'_>, write: Write) -> Result<(), AdminError> {
        let what = if write.value.is_some() { "stored" } else { "removed" };
        self.engine.set_config(&write.name, write.value).await?;
        tracing::info!(by = call.principal.arn, from = %call.peer.address, "{what} {}", write.name);
        Ok(())
    }
}
