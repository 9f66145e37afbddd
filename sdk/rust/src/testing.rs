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

use crate::attempt::{lock, Services};
use crate::context::Context;
use crate::handler::IntoHandler;
use crate::protocol::{ClaimedStep, Outcome, Payload};

/// What a handler has stored.
#[derive(Debug, Clone, Default)]
struct Stored {
    checkpoints: Vec<Value>,
    recorded: Map<String, Value>,
    logs: Vec<Value>,
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
            "logs" => {
                let lines = body["lines"].as_array().into_iter().flatten();
                stored.logs.extend(lines.cloned());
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
#[must_use]
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
    pub fn context(mut self, context: Value) -> Self {
        self.payload.context = context;
        self
    }

    /// Set the result of an earlier step.
    pub fn result(mut self, step: &str, result: Value) -> Self {
        self.payload.results.insert(step.into(), result);
        self
    }

    /// Set a value of the step's configuration.
    pub fn config(mut self, name: &str, value: Value) -> Self {
        self.payload.config.insert(name.into(), value);
        self
    }

    /// Set what an instance is given: `item`, `cursor`.
    pub fn item(mut self, name: &str, value: Value) -> Self {
        self.payload.items[name] = value;
        self
    }

    /// Set what an earlier attempt saved.
    pub fn checkpoint(mut self, value: Value) -> Self {
        self.payload.checkpoint = value;
        self
    }

    /// Set the attempt's number.
    pub fn attempt(mut self, attempt: u32) -> Self {
        self.attempt = Some(attempt);
        self
    }

    /// Set the value of a durable call that an earlier attempt recorded, such as `sleep-1`.
    pub fn recorded(mut self, name: &str, value: Value) -> Self {
        self.recording.recorded.insert(name.into(), value);
        self
    }

    /// Set the result of child tasks of a template; a task without one leaves the step waiting.
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
            namespace: "tests".into(),
            template: "workflow".into(),
            version: "1.0.0".into(),
            attempt,
            counted_attempts: attempt,
            max_attempts: 3,
            idempotency_key: format!("{task_id}:step"),
            correlation_id: "test".into(),
            payload: self.payload,
            ..ClaimedStep::default()
        };
        let stored = Arc::clone(&self.recording.stored);
        let context = Context::new(claimed, Services::Test(self.recording));
        let ended = tokio::spawn(context.clone().call(Some(handler.into_call()))).await;
        let outcome = match context.conclude(ended) {
            Outcome::Cancelled(_) => Value::Null,
            outcome => json!(outcome),
        };
        context.send_log().await;
        let Stored { checkpoints, recorded, logs } = std::mem::take(&mut *lock(&stored));
        StepRun { outcome, checkpoints, recorded, logs }
    }
}
