//! A checkpoint of every core now, so that the next start reads little of the log.
//!
//! It is written beside requests, and takes as long as the index is large: who asks for it hears at once that it
//! has begun, and asks again how far it is.

use std::cell::RefCell;
use std::rc::Rc;

use serde_json::{Value, json};

use super::AdminService;
use super::call::Call;
use super::error::AdminError;
use super::view::{json_response, moment};
use crate::auth::policy::action::Action;
use crate::engine::{Engine, EngineError};
use crate::http::Response;
use crate::io::{Host, TimestampMs};

/// The checkpoints that were asked for last.
#[derive(Default)]
pub struct Checkpoints {
    last: RefCell<Option<Rc<Run>>>,
}

struct Run {
    began: TimestampMs,
    /// What became of each core's; `None` while it is written, or waits for other work in the background.
    cores: RefCell<Vec<Option<Result<(), EngineError>>>>,
}

impl Run {
    fn is_under_way(&self) -> bool {
        self.cores.borrow().iter().any(Option::is_none)
    }

    fn view(&self) -> Value {
        let cores = self.cores.borrow();
        let view = |(core, outcome): (usize, &Option<Result<(), EngineError>>)| match outcome {
            None => json!({ "core": core, "state": "writing" }),
            Some(Ok(())) => json!({ "core": core, "state": "written" }),
            Some(Err(error)) => json!({ "core": core, "state": "failed", "reason": error.to_string() }),
        };
        let shown: Vec<Value> = cores.iter().enumerate().map(view).collect();
        json!({ "began": moment(self.began), "underWay": self.is_under_way(), "cores": shown })
    }
}

impl Checkpoints {
    /// Begins to write them, unless that is under way.
    fn begin<H: Host>(&self, engine: &Engine<H>) -> Rc<Run> {
        if let Some(run) = self.last.borrow().as_ref().filter(|run| run.is_under_way()) {
            return run.clone();
        }
        let count = engine.shared().cores;
        let run = Rc::new(Run { began: engine.host().now(), cores: RefCell::new(vec![None; count]) });
        for core in 0..count {
            let (engine, run) = (engine.clone(), run.clone());
            engine.host().clone().spawn(async move {
                let outcome = engine.write_checkpoint(core).await;
                if let Err(error) = &outcome {
                    tracing::warn!("core {core}: the checkpoint that was asked for failed: {error}");
                }
                run.cores.borrow_mut()[core] = Some(outcome);
            });
        }
        *self.last.borrow_mut() = Some(run.clone());
        run
    }
}

pub fn run<H: Host>(service: &AdminService<H>, call: &Call<'_>) -> Result<Response, AdminError> {
    match call.method {
        "GET" => {
            call.allow_operator(const { Action::named("ringcask:GetHealth") })?;
            let last = service.checkpoints.last.borrow();
            Ok(json_response(200, &last.as_ref().map_or(Value::Null, |run| run.view())))
        }
        "POST" => {
            call.allow_operator(const { Action::named("ringcask:WriteCheckpoint") })?;
            let run = service.checkpoints.begin(&service.engine);
            let (by, from) = (&call.principal.arn, call.peer.address);
            tracing::info!(by, %from, "a checkpoint was asked for");
            Ok(json_response(202, &run.view()))
        }
        _ => Err(AdminError::no_such_route()),
    }
}
