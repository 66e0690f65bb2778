//! Draining: the node refuses requests until it is told to take them again.

use serde::Deserialize;
use serde_json::{Value, json};

use super::AdminService;
use super::call::Call;
use super::error::AdminError;
use super::view::json_response;
use crate::auth::policy::action::Action;
use crate::control::drain::{Drain, Refusing};
use crate::http::Response;
use crate::io::Host;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    refuse: What,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum What {
    Changes,
    Everything,
}

pub fn run<H: Host>(service: &AdminService<H>, call: &Call<'_>) -> Result<Response, AdminError> {
    let drain = &service.drain;
    let refuse = match call.method {
        "GET" => {
            call.allow_operator(const { Action::named("ringcask:GetHealth") })?;
            return Ok(json_response(200, &view(drain)));
        }
        "PUT" => {
            call.allow_operator(const { Action::named("ringcask:Drain") })?;
            match call.read::<Wish>()?.refuse {
                What::Changes => Refusing::Changes,
                What::Everything => Refusing::Everything,
            }
        }
        "DELETE" => {
            call.allow_operator(const { Action::named("ringcask:Drain") })?;
            Refusing::Nothing
        }
        _ => return Err(AdminError::no_such_route()),
    };
    drain.refuse(refuse);
    let (by, from) = (&call.principal.arn, call.peer.address);
    tracing::info!(by, %from, "the node refuses {} from now on", refuse.name());
    Ok(json_response(200, &view(drain)))
}

pub fn view(drain: &Drain) -> Value {
    let (changes, all) = drain.under_way();
    json!({
        "refusing": drain.refusing().name(),
        "requestsInFlight": all,
        "changesInFlight": changes,
    })
}
