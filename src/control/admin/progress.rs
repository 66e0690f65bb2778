//! How far the work in the background is: scrub, cleaning of the log, checkpoints.

use serde_json::{Value, json};

use super::AdminService;
use super::call::Call;
use super::error::AdminError;
use super::view::json_response;
use crate::auth::policy::action::Action;
use crate::control::metrics::CoreCounts;
use crate::http::Response;
use crate::io::Host;

pub async fn run<H: Host>(service: &AdminService<H>, call: &Call<'_>) -> Result<Response, AdminError> {
    call.allow_operator(const { Action::named("ringcask:GetHealth") })?;
    let cores = match &service.metrics {
        Some(metrics) => metrics.cores().await,
        None => Vec::new(),
    };
    let answered = cores.iter().enumerate().filter_map(|(core, counts)| Some((core, counts.as_ref()?)));
    let cores: Vec<Value> = answered.map(|(core, counts)| view(core, counts)).collect();
    let scrub_bytes_per_second = service.engine.scrub_bytes_per_second();
    Ok(json_response(200, &json!({ "scrubBytesPerSecond": scrub_bytes_per_second, "cores": cores })))
}

fn view(core: usize, counts: &CoreCounts) -> Value {
    let engine = &counts.engine;
    json!({
        "core": core,
        "scrub": {
            "underWay": engine.scrub.is_under_way,
            "passes": engine.scrub.passes,
            "bytesDone": engine.scrub.bytes_done,
            "bytesTotal": engine.scrub.bytes_total,
        },
        "log": {
            "bytesLive": engine.log.bytes_live,
            "bytesDead": engine.log.bytes_dead,
            "segments": engine.log.segments,
            "segmentsCleaned": engine.log.segments_cleaned,
            "bytesCleaned": engine.log.bytes_cleaned,
        },
        "checkpoint": {
            "underWay": engine.is_checkpoint_under_way,
            "logBytes": engine.checkpoint_log_bytes,
            "logBytesDue": engine.checkpoint_log_bytes_due,
        },
        "payload": { "bytesLive": engine.payload_bytes_live, "bytesDead": engine.payload_bytes_dead },
    })
}
