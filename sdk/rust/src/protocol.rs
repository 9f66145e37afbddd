//! The messages of the worker protocol, version 1.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::handler::Handler;

pub const PROTOCOL: u32 = 1;

/// What a worker tells the server about itself.
#[derive(Default, Serialize)]
pub struct Registration {
    pub protocol: u32,
    pub sdk: &'static str,
    pub name: String,
    pub slots: usize,
    pub build: String,
    pub labels: HashMap<String, String>,
    pub namespaces: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    pub handlers: Vec<Handler>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Registered {
    pub worker: String,
    #[serde(default)]
    pub features: Vec<String>,
    pub renew_s: f64,
    pub wait_s: f64,
    pub max_outcomes: usize,
    pub body_bytes: usize,
    #[serde(default)]
    pub unserved: Vec<String>,
    #[serde(default)]
    pub refused: Vec<String>,
}

/// What a handler works on.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Payload {
    pub context: Value,
    pub config: Map<String, Value>,
    pub results: HashMap<String, Value>,
    pub failures: Value,
    pub checkpoint: Value,
    pub items: Value,
}

/// A step to run.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ClaimedStep {
    pub ticket: String,
    pub task_id: String,
    pub step: String,
    pub handler: String,
    /// Which of the registered handlers to call; None: an older server, which names it only.
    pub handler_index: Option<usize>,
    pub method: Option<String>,
    pub namespace: String,
    pub template: String,
    pub version: String,
    pub attempt: u32,
    pub counted_attempts: u32,
    pub max_attempts: u32,
    pub timeout_s: Option<f64>,
    pub heartbeat_timeout_s: Option<f64>,
    pub idempotency_key: String,
    pub correlation_id: String,
    pub parent_id: Option<String>,
    pub traceparent: Option<String>,
    pub completion_url: Option<String>,
    /// Whether the payload is to be read in a request of its own.
    #[serde(rename = "payload")]
    pub payload_elsewhere: bool,
    #[serde(flatten)]
    pub payload: Payload,
}

/// The answer of claim, settle, renew and resume.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Claimed {
    pub steps: Vec<ClaimedStep>,
    pub cancelled: Vec<String>,
    pub quiet: bool,
    pub problems: HashMap<String, Value>,
}

/// How an attempt ends.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    Complete {
        result: Value,
    },
    Failed {
        error: Failure,
    },
    Parked {
        wait_for: Value,
    },
    Yielded {
        checkpoint: Value,
    },
    Released,
    /// The attempt must stop; nothing is reported.
    #[serde(skip)]
    Cancelled(String),
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct Failure {
    #[serde(rename = "type")]
    pub kind: String,
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
    pub retryable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_s: Option<f64>,
    /// Where it was made, and what caused it.
    pub trace: String,
}

/// A durable call that an earlier attempt recorded.
#[derive(Debug, Clone, Deserialize)]
pub struct RecordedCall {
    pub name: String,
    pub kind: String,
    #[serde(default)]
    pub value: Value,
    #[serde(default)]
    pub remaining_s: Option<f64>,
}

#[derive(Debug, Deserialize)]
pub struct Calls {
    pub calls: Vec<RecordedCall>,
}

/// The state of a child task.
#[derive(Debug, Deserialize)]
pub struct ChildTask {
    /// None once the task has ended.
    pub task_id: Option<String>,
    pub status: String,
    #[serde(default)]
    pub result: Value,
    #[serde(default)]
    pub error: Option<ChildError>,
}

/// Why a child task failed.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct ChildError {
    pub code: Option<String>,
    pub message: Option<String>,
}
