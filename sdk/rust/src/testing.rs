//! Runs handlers without a server.
//!
//! ```
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! use serde_json::{json, Value};
//! use tasker::testing::StepTest;
//! use tasker::{Context, Error};
//!
//! async fn charge(ctx: Context) -> Result<Value, Error> {
//!     let cents: u64 = ctx.input("cents")?;
//!     Ok(json!({"charged": cents}))
//! }
//!
//! let run = StepTest::new().context(json!({"cents": 5})).run(charge).await;
//!
//! assert_eq!(run.outcome["result"], json!({"charged": 5}));
//! # });
//! ```

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use serde_json::{json, Map, Value};

use crate::context::{lock, Context, Services, Signals};
use crate::handler::{panicked, IntoHandler};
use crate::protocol::{ending_of, ClaimedStep, Payload};
use crate::Error;

/// What a handler has stored.
#[derive(Debug, Clone, Default)]
struct Stored {
    checkpoints: Vec<Value>,
    recorded: Map<String, Value>,
}

/// Answers the requests of an attempt, and keeps what it stores.
#[derive(Clone, Default)]
pub(crate) struct Recording {
    recorded: Map<String, Value>,
    tasks: HashMap<String, Value>,
    stored: Arc<Mutex<Stored>>,
}

impl Recording {
    pub(crate) fn answer(&self, route: &str, body: &Value) -> Value {
        let mut stored = lock(&self.stored);
        let call = body["call"].as_str().unwrap_or_default().to_owned();
        match route {
            "calls" => {
                let call = |(name, value): (&String, &Value)| json!({"name": name, "kind": kind_of(name), "value": value});
                json!({"calls": self.recorded.iter().map(call).collect::<Vec<_>>()})
            }
            "checkpoint" => {
                stored.checkpoints.push(body["value"].clone());
                Value::Null
            }
            "once" => {
                stored.recorded.insert(call, body["value"].clone());
                Value::Null
            }
            "run_task" => match self.tasks.get(body["template"].as_str().unwrap_or_default()) {
                None => json!({"task_id": "test", "status": "pending"}),
                Some(result) => {
                    stored.recorded.insert(call, result.clone());
                    json!({"task_id": "test", "status": "complete", "result": result})
                }
            },
            _ => Value::Null,
        }
    }
}

/// Return the kind of a call with a name by default, `sleep-1`; other names are of `once`.
fn kind_of(name: &str) -> &str {
    match name.rsplit_once('-') {
        Some((kind @ ("sleep" | "wait_signal" | "wait_any" | "wait_approval" | "run_task" | "spawn"), _)) => {
            kind
        }
        _ => "once",
    }
}

/// One attempt to run; everything has a default.
#[derive(Clone, Default)]
pub struct StepTest {
    payload: Payload,
    attempt: Option<u32>,
    recording: Recording,
}

/// How an attempt ended.
#[derive(Debug, Clone)]
pub struct StepRun {
    /// `{"outcome": "complete", "result": ...}`, or `failed` with `error`, `parked` with `wait_for`,
    /// `yielded` with `checkpoint`.
    pub outcome: Value,
    /// What it saved, oldest first.
    pub checkpoints: Vec<Value>,
    /// Results of `once` and `run_task`, by the name of the call.
    pub recorded: Map<String, Value>,
    /// Its log records, the last progress among them: `level`, `message`, `source`, `fields`.
    pub logs: Vec<Value>,
}

impl StepTest {
    /// Create the first attempt of a step without inputs.
    pub fn new() -> Self {
        Self::default()
    }

    /// Set the task's context.
    #[must_use]
    pub fn context(mut self, context: Value) -> Self {
        self.payload.context = context;
        self
    }

    /// Set the result of an earlier step.
    #[must_use]
    pub fn result(mut self, step: &str, result: Value) -> Self {
        self.payload.results.insert(step.into(), result);
        self
    }

    /// Set a value of the step's configuration.
    #[must_use]
    pub fn config(mut self, name: &str, value: Value) -> Self {
        self.payload.config.insert(name.into(), value);
        self
    }

    /// Set what an instance is given: `item`, `cursor`.
    #[must_use]
    pub fn item(mut self, name: &str, value: Value) -> Self {
        self.payload.items.insert(name.into(), value);
        self
    }

    /// Set what an earlier attempt saved.
    #[must_use]
    pub fn checkpoint(mut self, value: Value) -> Self {
        self.payload.checkpoint = value;
        self
    }

    /// Set the attempt's number.
    #[must_use]
    pub fn attempt(mut self, attempt: u32) -> Self {
        self.attempt = Some(attempt);
        self
    }

    /// Set the value of a durable call that an earlier attempt recorded, such as `sleep-1`.
    #[must_use]
    pub fn recorded(mut self, name: &str, value: Value) -> Self {
        self.recording.recorded.insert(name.into(), value);
        self
    }

    /// Set the result of child tasks of a template; a task without one leaves the step waiting.
    #[must_use]
    pub fn task(mut self, template: &str, result: Value) -> Self {
        self.recording.tasks.insert(template.into(), result);
        self
    }

    /// Run a handler once, and return how its attempt ended.
    pub async fn run<Form>(self, handler: impl IntoHandler<Form>) -> StepRun {
        let later = u32::from(!self.recording.recorded.is_empty());
        let attempt = self.attempt.unwrap_or(1 + later);
        let task_id = "01890a5d-ac96-774b-bcce-b302099a8057";
        let claimed = ClaimedStep {
            ticket: "test".into(),
            task_id: task_id.into(),
            step: "step".into(),
            handler: "handler".into(),
            method: None,
            namespace: "tests".into(),
            template: "workflow".into(),
            version: "1.0.0".into(),
            attempt,
            counted_attempts: attempt,
            max_attempts: 3,
            timeout_s: None,
            heartbeat_timeout_s: None,
            idempotency_key: format!("{task_id}:step"),
            correlation_id: "test".into(),
            parent_id: None,
            traceparent: None,
            completion_url: None,
            payload_elsewhere: false,
            payload: self.payload,
        };
        let stored = Arc::clone(&self.recording.stored);
        let signals = Signals::new();
        let context = Context::new(
            claimed,
            Arc::clone(&signals),
            Services::Test(self.recording),
            None,
        );
        let ended = tokio::spawn(handler.into_call()(context)).await;
        let ended = ended.unwrap_or_else(|error| Err(panicked(error)));
        let ended = signals
            .take_suspended()
            .map_or(ended, |kind| Err(Error(Box::new(kind))));
        let logs = Mutex::new(vec![]);
        let keep = |records| {
            lock(&logs).extend(records);
            std::future::ready(true)
        };
        signals.log.flush(keep).await;
        let Stored {
            checkpoints,
            recorded,
        } = lock(&stored).clone();
        StepRun {
            outcome: ending_of(ended).unwrap_or_default(),
            checkpoints,
            recorded,
            logs: logs.into_inner().unwrap_or_default(),
        }
    }
}
