//! The node in one answer: cores, drives, buckets, listeners, certificates; and its settings.

use serde_json::{Value, json};

use super::AdminService;
use super::call::Call;
use super::drain;
use super::error::AdminError;
use super::view::{json_response, moment};
use crate::auth::policy::action::Action;
use crate::control::health::Audience;
use crate::control::origin::Origin;
use crate::http::Response;
use crate::io::Host;

type Answer = Result<Response, AdminError>;

/// What `GET health` tells the operator, and more.
pub async fn status<H: Host>(service: &AdminService<H>, call: &Call<'_>) -> Answer {
    call.allow_operator(const { Action::named("ringcask:GetHealth") })?;
    let mut answer = service.health.report(Audience::Operator).await.1;
    let about = &service.about;
    answer["started"] = moment(service.started);
    answer["uptimeSeconds"] = json!(call.now.saturating_sub(service.started) / 1000);
    let listeners = about.listeners.iter().map(|(name, url)| json!({ "for": name, "url": url }));
    answer["listeners"] = listeners.collect();
    let certificates = about.tls.iter().flat_map(|tls| tls.in_use());
    let certificates = certificates.map(|it| {
        let expires = u64::try_from(it.not_after).unwrap_or(0).saturating_mul(1000);
        json!({ "file": it.file.display().to_string(), "names": it.names, "expires": moment(expires) })
    });
    answer["certificates"] = certificates.collect();
    answer["drain"] = drain::view(&service.drain);
    answer["notes"] = json!(about.notes);
    answer["drives"] = drives(service, &answer["cores"]).await;
    answer["buckets"] = buckets(service).await?;
    Ok(json_response(200, &answer))
}

/// Space of each drive, and what this node has stored there. `cores`: as the node's health shows them.
async fn drives<H: Host>(service: &AdminService<H>, cores: &Value) -> Value {
    let cores = cores.as_array().map_or(&[][..], Vec::as_slice);
    let counts = match &service.metrics {
        Some(metrics) => metrics.cores().await,
        None => Vec::new(),
    };
    let mut drives: Vec<Value> = Vec::new();
    for core in cores {
        let number = core["core"].as_u64().and_then(|core| usize::try_from(core).ok()).unwrap_or(usize::MAX);
        let at = match drives.iter().position(|drive| drive["drive"] == core["drive"]) {
            Some(at) => at,
            None => {
                drives.push(json!({
                    "drive": core["drive"],
                    "directory": core["directory"],
                    "cores": [],
                    "state": "serving",
                    "bytesFree": core["bytesFree"],
                    "bytesTotal": core["bytesTotal"],
                    "payloadBytes": 0,
                    "logBytes": 0,
                }));
                drives.len() - 1
            }
        };
        let drive = &mut drives[at];
        if let Some(cores) = drive["cores"].as_array_mut() {
            cores.push(core["core"].clone());
        }
        if core["state"] != "serving" {
            drive["state"] = core["state"].clone();
        }
        if let Some(counts) = counts.get(number).and_then(Option::as_ref) {
            let engine = &counts.engine;
            let payload = engine.payload_bytes_live + engine.payload_bytes_dead;
            let log = engine.log.bytes_live + engine.log.bytes_dead;
            drive["payloadBytes"] = json!(drive["payloadBytes"].as_u64().unwrap_or(0) + payload);
            drive["logBytes"] = json!(drive["logBytes"].as_u64().unwrap_or(0) + log);
        }
    }
    drives.extend(service.health.idle_drives());
    Value::Array(drives)
}

/// What all buckets hold together.
async fn buckets<H: Host>(service: &AdminService<H>) -> Result<Value, AdminError> {
    let usage = service.engine.usage_of_all().await?;
    Ok(json!({
        "count": service.engine.buckets_first(0).0,
        "objects": usage.objects,
        "versions": usage.versions,
        "bytes": usage.bytes,
    }))
}

/// Every setting with where it came from.
pub fn config<H: Host>(service: &AdminService<H>, call: &Call<'_>) -> Answer {
    call.allow_operator(const { Action::named("ringcask:GetConfiguration") })?;
    let settings = service.about.settings.iter().map(|setting| {
        let from = match &setting.origin {
            Origin::CommandLine => format!("--{}", setting.name),
            Origin::Environment(variable) => variable.clone(),
            Origin::File(path) => path.display().to_string(),
            Origin::Default => String::new(),
        };
        json!({ "name": setting.name, "value": setting.value, "origin": setting.origin.kind(), "from": from })
    });
    let answer = json!({ "settings": settings.collect::<Vec<Value>>(), "notes": service.about.notes });
    Ok(json_response(200, &answer))
}
