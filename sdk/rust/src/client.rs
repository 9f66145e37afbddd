use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{json, Map, Value};

use crate::api::{Api, ApiError};
use crate::context::Context;

const LONG_POLL: f64 = 20.0;
const RETRIES: u32 = 5;

/// The status of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskStatus {
    /// No step has started yet.
    Pending,
    /// It runs or waits.
    InProgress,
    /// It has succeeded.
    Complete,
    /// A step has failed for good.
    Error,
    /// It was cancelled.
    Cancelled,
    /// An operator has declared it done.
    ResolvedManually,
}

/// A task as the server describes it.
#[derive(Debug, Clone, Deserialize)]
pub struct Task {
    /// Its id.
    pub id: String,
    /// The namespace of its template.
    #[serde(default)]
    pub namespace: Option<String>,
    /// The name of its template.
    #[serde(default)]
    pub name: Option<String>,
    /// The version of its template.
    #[serde(default)]
    pub version: Option<String>,
    /// Its status.
    pub status: TaskStatus,
    /// What it was created with.
    #[serde(default)]
    pub context: Value,
    /// Its result, null until it is complete.
    #[serde(default)]
    pub result: Value,
    /// Why it failed, otherwise null.
    #[serde(default)]
    pub error: Value,
    /// The fields that the API's documentation lists beyond these.
    #[serde(flatten)]
    pub fields: Map<String, Value>,
}

impl Task {
    /// Return whether it has ended.
    pub fn ended(&self) -> bool {
        !matches!(self.status, TaskStatus::Pending | TaskStatus::InProgress)
    }
}

/// Options of a new task.
#[derive(Debug, Clone, Default, Serialize)]
pub struct CreateOptions {
    /// The namespace, if the template's name does not begin with it; None: `default`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// A version or a range such as `^2`; None: the latest release.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// A second request with the same key returns the same task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// Connects related tasks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// Seconds until the first step may start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_seconds: Option<f64>,
    /// For searches.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Further fields of the request, in the API's names.
    #[serde(flatten)]
    pub fields: Map<String, Value>,
}

/// Creates and reads tasks.
#[derive(Clone)]
pub struct Client {
    pub(crate) api: Api,
    /// The attempt on whose behalf it creates tasks.
    pub(crate) creator: Option<Context>,
}

impl Client {
    /// Create a client of a server, with the API key in `TASKER_API_KEY` if there is one.
    pub fn new(url: impl AsRef<str>) -> Self {
        Self::with_key(url, std::env::var("TASKER_API_KEY").ok())
    }

    /// Create a client with an API key.
    pub fn with_key(url: impl AsRef<str>, key: Option<String>) -> Self {
        Self { api: Api::new(url.as_ref(), key, None), creator: None }
    }

    /// Create a task of a template, such as `payments.refund` or `payments.refund@^2`.
    ///
    /// Within a handler, later attempts of the step get the same task.
    ///
    /// # Errors
    ///
    /// The template does not exist, or the context violates its schema.
    pub async fn create(
        &self,
        template: &str,
        context: impl Serialize,
        options: CreateOptions,
    ) -> Result<Task, ApiError> {
        let mut body = to_json(options)?;
        body["name"] = json!(template);
        body["context"] = to_json(context)?;
        let mut request = self.api.request(Method::POST, "/v1/tasks");
        if let Some(creator) = &self.creator {
            let number = creator.0.created.fetch_add(1, Ordering::Relaxed) + 1;
            request = request.header("tasker-ticket", &creator.0.claimed.ticket);
            if body["idempotency_key"].is_null() {
                body["idempotency_key"] = json!(format!("{}:create-{number}", creator.idempotency_key()));
            }
        }
        // Without a key, a repetition after a lost answer would create a second task.
        let retries = if body["idempotency_key"].is_null() { 0 } else { RETRIES };
        self.api.send(request.json(&body), retries).await
    }

    /// Return a task.
    ///
    /// # Errors
    ///
    /// The task does not exist.
    pub async fn get(&self, id: &str) -> Result<Task, ApiError> {
        let request = self.api.request(Method::GET, &format!("/v1/tasks/{id}"));
        self.api.send(request, RETRIES).await
    }

    /// Wait until a task has ended, and return it; None: no limit of the wait.
    ///
    /// # Errors
    ///
    /// It has not ended in time: the code is `timeout`.
    pub async fn wait(&self, id: &str, timeout: Option<Duration>) -> Result<Task, ApiError> {
        let deadline = timeout.map(|limit| Instant::now() + limit);
        loop {
            let until = |end: Instant| end.saturating_duration_since(Instant::now()).as_secs_f64();
            let left = deadline.map_or(LONG_POLL, until);
            let path = format!("/v1/tasks/{id}/wait?timeout={}", left.min(LONG_POLL));
            let request = self.api.request(Method::GET, &path);
            let task: Task = self.api.send(request, RETRIES).await?;
            if task.ended() {
                return Ok(task);
            }
            if left == 0.0 {
                return Err(ApiError::new("timeout", format!("task {id} has not ended in time")));
            }
        }
    }

    /// Create a task, wait for its end and return its result.
    ///
    /// # Errors
    ///
    /// It failed or was cancelled: the code is `task_failed`. The result is no `T`: `invalid_result`.
    pub async fn run<T: DeserializeOwned>(
        &self,
        template: &str,
        context: impl Serialize,
        options: CreateOptions,
    ) -> Result<T, ApiError> {
        let created = self.create(template, context, options).await?;
        let Task { id, status, result, error, .. } = self.wait(&created.id, None).await?;
        if matches!(status, TaskStatus::Error | TaskStatus::Cancelled) {
            let why = error["message"].as_str().unwrap_or("it was cancelled");
            return Err(ApiError::new("task_failed", format!("task {id} failed: {why}")));
        }
        let invalid = |error| ApiError::new("invalid_result", format!("the result of task {id}: {error}"));
        serde_json::from_value(result).map_err(invalid)
    }

    /// Send a signal to a task, for a step that waits for it or will.
    ///
    /// `id`: a second signal with the same id changes nothing.
    ///
    /// # Errors
    ///
    /// The task does not exist or has ended.
    pub async fn signal(
        &self,
        task_id: &str,
        name: &str,
        payload: impl Serialize,
        id: &str,
    ) -> Result<Value, ApiError> {
        let body = json!({"name": name, "payload": to_json(payload)?, "id": id, "reason": ""});
        let path = format!("/v1/tasks/{task_id}/signals");
        let request = self.api.request(Method::POST, &path).json(&body);
        self.api.send(request, RETRIES).await
    }
}

fn to_json(value: impl Serialize) -> Result<Value, ApiError> {
    serde_json::to_value(value)
        .map_err(|error| ApiError::new("invalid_request", format!("no JSON form: {error}")))
}
