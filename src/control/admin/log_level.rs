//! What the node logs, shown and changed while it runs.

use serde::Deserialize;
use serde_json::json;

use super::AdminService;
use super::call::Call;
use super::error::AdminError;
use super::view::json_response;
use crate::auth::policy::action::Action;
use crate::control::logging::Log;
use crate::http::Response;
use crate::io::Host;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewLevel {
    level: String,
}

/// Carries out what is asked at `log-level`.
pub fn run<H: Host>(service: &AdminService<H>, call: &Call<'_>) -> Result<Response, AdminError> {
    let log = service.log.as_ref().ok_or_else(AdminError::no_such_route)?;
    match call.method {
        "GET" => call.allow_operator(const { Action::named("ringcask:GetLogLevel") })?,
        "PUT" => {
            call.allow_operator(const { Action::named("ringcask:UpdateLogLevel") })?;
            let new: NewLevel = call.read()?;
            let before = log.level();
            log.set_level(&new.level).map_err(AdminError::bad_request)?;
            let (by, from, level) = (&call.principal.arn, call.peer.address, &new.level);
            // A warning, so that it is there whatever the new level is; but for 'off' and 'error'.
            tracing::warn!(by, %from, before, level, "changed what is logged, until the next start");
        }
        _ => return Err(AdminError::no_such_route()),
    }
    Ok(view(log))
}

fn view(log: &Log) -> Response {
    json_response(200, &json!({ "level": log.level(), "configured": log.level_configured() }))
}
