//! Named keys of encryption: made, rotated and listed by the node's operator. There is no way to delete one:
//! objects would be lost with it.

use serde::Deserialize;
use serde_json::{Value, json};

use super::AdminService;
use super::call::Call;
use super::error::AdminError;
use super::view::{json_response, moment};
use crate::auth::directory::change::Refusal;
use crate::auth::policy::action::Action;
use crate::http::Response;
use crate::io::Host;
use crate::s3::encryption::Vault;
use crate::s3::encryption::vault::{KeyError, KeyInfo, create_key, rotate_key};
use crate::s3::error::{Code, S3Error};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewKey {
    name: String,
}

pub async fn keys<H: Host>(
    service: &AdminService<H>,
    call: &Call<'_>,
    path: &[&str],
) -> Result<Response, AdminError> {
    let vault = Vault::new(service.identities.master_key().clone(), service.engine.config());
    match (call.method, path) {
        ("GET", []) => {
            call.allow_operator(const { Action::named("ringcask:ListKmsKeys") })?;
            let keys: Vec<Value> = vault.list().iter().map(view).collect();
            Ok(json_response(200, &json!({ "keys": keys })))
        }
        ("POST", []) => {
            call.allow_operator(const { Action::named("ringcask:CreateKmsKey") })?;
            let new: NewKey = call.read()?;
            let made = create_key(&service.engine, &vault, &new.name).await;
            let key = made.map_err(|error| refusal(error, &new.name))?;
            let from = call.peer.address;
            tracing::info!(by = call.principal.arn, %from, "made the encryption key {}", key.name);
            Ok(json_response(201, &view(&key)))
        }
        ("GET", [name]) => {
            call.allow_operator(const { Action::named("ringcask:GetKmsKey") })?;
            let key = vault.info(name).map_err(|error| refusal(error, name))?;
            Ok(json_response(200, &view(&key)))
        }
        ("POST", [name, "rotate"]) => {
            call.allow_operator(const { Action::named("ringcask:UpdateKmsKey") })?;
            let rotated = rotate_key(&service.engine, &vault, name).await;
            let key = rotated.map_err(|error| refusal(error, name))?;
            let from = call.peer.address;
            tracing::info!(by = call.principal.arn, %from, "rotated the encryption key {}", key.name);
            Ok(json_response(200, &view(&key)))
        }
        _ => Err(AdminError::no_such_route()),
    }
}

fn view(key: &KeyInfo) -> Value {
    json!({
        "name": key.name,
        "version": key.version,
        "created": key.created.map_or(Value::Null, moment),
        "rotated": key.rotated.map_or(Value::Null, moment),
    })
}

fn refusal(error: KeyError, name: &str) -> AdminError {
    match error {
        KeyError::InvalidName => Refusal::invalid(
            "an encryption key's name has 1 to 250 letters, digits and any of / _ -, and does not begin with aws/",
        )
        .into(),
        KeyError::Exists => Refusal::exists("encryption key", name).into(),
        KeyError::NotFound => Refusal::not_found("encryption key", name).into(),
        KeyError::GivenUp => Refusal::in_use("the version was lost with the node's master key").into(),
        KeyError::TooManyVersions => Refusal::in_use("the key has as many versions as a key may have").into(),
        KeyError::Damaged => {
            tracing::error!("the encryption key '{name}' cannot be opened");
            S3Error::new(Code::InternalError).into()
        }
        KeyError::Engine(error) => error.into(),
    }
}
