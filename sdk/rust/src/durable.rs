//! Durable calls: what a step does once over all of its attempts, and what it waits for.

use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{json, Value};

use crate::attempt::lock;
use crate::context::{read, to_json, Context};
use crate::error::Error;
use crate::protocol::{Calls, ChildError, ChildTask, Outcome, RecordedCall};

/// A signal to wait for.
#[derive(Debug, Clone, Serialize)]
pub struct Signal {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
}

impl Signal {
    /// Wait for a signal to this task.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), key: None }
    }

    /// Wait for a broadcast with this key too.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }
}

impl<S: Into<String>> From<S> for Signal {
    fn from(name: S) -> Self {
        Self::named(name)
    }
}

/// Options of a wait.
#[derive(Debug, Clone, Default)]
pub struct Wait {
    /// Maximum wait; None: no limit.
    pub timeout: Option<Duration>,
    /// After the timeout, return None instead of failing the step with the code `wait_timeout`.
    pub continue_on_timeout: bool,
    /// The name of the durable call; None: its kind and number, such as `wait_signal-1`.
    pub call_name: Option<String>,
}

/// What ended a wait for a signal.
#[derive(Debug, Clone, Deserialize)]
pub struct Arrival {
    /// The name of the signal.
    pub name: String,
    /// The key of a broadcast.
    #[serde(default)]
    pub key: Option<String>,
    /// What it carries.
    #[serde(default)]
    pub payload: Value,
    /// Who has sent it.
    #[serde(default)]
    pub sent_by: Option<String>,
}

/// A question to a person.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Approval {
    /// Who may decide: `user:NAME` and `role:NAME`; empty: everybody who may decide approvals.
    pub assignees: Vec<String>,
    /// JSON Schema of the decision; None: `approved`, a boolean, and a `comment`.
    pub form: Option<Value>,
    /// Seconds after which `escalate_to` may decide too.
    pub escalate_after_s: Option<f64>,
    /// Further assignees.
    pub escalate_to: Vec<String>,
}

/// The decision of a person.
#[derive(Debug, Clone, Deserialize)]
pub struct Decision {
    /// What was decided.
    pub form: Value,
    /// Who has decided.
    pub decided_by: String,
    /// When, as RFC 3339.
    pub decided_at: String,
}

/// Options of a child task.
#[derive(Debug, Clone, Default)]
pub struct RunTask {
    /// Whether the task goes on when this one is cancelled.
    pub detached: bool,
    /// Whether a failed task is retried as often as this step may have attempts.
    pub retry: bool,
    /// The name of the durable call; None: its number, such as `run_task-1`.
    pub call_name: Option<String>,
}

impl Context {
    /// Call a function once over all attempts of the step, and return its result.
    ///
    /// If the process dies after the function has returned and before the result is stored, the
    /// function is called again.
    ///
    /// # Errors
    ///
    /// The function's error; permanent: another durable call has the name.
    pub async fn once<T, Fut>(&self, name: &str, call: impl FnOnce() -> Fut) -> Result<T, Error>
    where
        T: Serialize + DeserializeOwned,
        Fut: Future<Output = Result<T, Error>>,
    {
        let (name, record) = self.begin("once", Some(name)).await?;
        let what = format!("the result of the durable call {name}");
        if let Some(record) = record {
            return read(&record.value, what);
        }
        let value = to_json(call().await?, &what)?;
        self.ask::<Value>("once", json!({"call": name, "value": value})).await?;
        read(&value, what)
    }

    /// Wait without a worker: the attempt ends, and the handler runs again from its beginning when
    /// the time has passed; this call then returns at once.
    ///
    /// # Errors
    ///
    /// The attempt ends here: pass the error on.
    pub async fn sleep(&self, delay: Duration) -> Result<(), Error> {
        let (name, record) = self.begin("sleep", None).await?;
        let left = match record {
            None => Some(delay.as_secs_f64()),
            Some(record) => record.remaining_s.filter(|left| *left > 0.0),
        };
        left.map_or(Ok(()), |left| self.park(json!({"delay_s": left, "call": name})))
    }

    /// Wait for a signal to this task, without a worker, and return its payload.
    ///
    /// # Errors
    ///
    /// The attempt ends here: pass the error on. Permanent: the wait timed out.
    pub async fn wait_signal<T: DeserializeOwned>(
        &self,
        signal: impl Into<Signal>,
        wait: Wait,
    ) -> Result<Option<T>, Error> {
        let signal = signal.into();
        let what = format!("signal {}", signal.name);
        let arrival: Option<Arrival> =
            self.wait("wait_signal", json!({"signal": signal}), &what, wait).await?;
        arrival.map(|arrival| read(&arrival.payload, format_args!("the payload of {what}"))).transpose()
    }

    /// Wait for the first of up to 20 signals.
    ///
    /// # Errors
    ///
    /// As `wait_signal`.
    pub async fn wait_any(
        &self,
        signals: impl IntoIterator<Item = impl Into<Signal>>,
        wait: Wait,
    ) -> Result<Option<Arrival>, Error> {
        let any: Vec<Signal> = signals.into_iter().map(Into::into).collect();
        let names: Vec<&str> = any.iter().map(|signal| signal.name.as_str()).collect();
        let what = format!("signal {}", names.join(" or "));
        self.wait("wait_any", json!({"any": any}), &what, wait).await
    }

    /// Wait for the decision of a person.
    ///
    /// # Errors
    ///
    /// As `wait_signal`.
    pub async fn wait_approval(&self, approval: Approval, wait: Wait) -> Result<Option<Decision>, Error> {
        self.wait("wait_approval", json!({"approval": approval}), "the decision", wait).await
    }

    /// Run a task of a template such as `payments.refund@^2`, without a worker while it runs, and
    /// return its result.
    ///
    /// # Errors
    ///
    /// The attempt ends here: pass the error on. Permanent: the task failed or was cancelled.
    pub async fn run_task<T: DeserializeOwned>(
        &self,
        template: &str,
        context: impl Serialize,
        options: RunTask,
    ) -> Result<T, Error> {
        let (name, record) = self.begin("run_task", options.call_name.as_deref()).await?;
        let what = format!("the result of {template}");
        if let Some(record) = record {
            return read(&record.value, what);
        }
        let body = json!({
            "call": name,
            "template": template,
            "context": to_json(context, "the context")?,
            "detached": options.detached,
            "retry": if options.retry { "child" } else { "never" },
        });
        let task: ChildTask = self.ask("run_task", body).await?;
        match task.status.as_str() {
            "complete" | "resolved_manually" => read(&task.result, what),
            "error" | "cancelled" => {
                let ChildError { code, message } = task.error.unwrap_or_default();
                let ended = || format!("the task of {template} ended as {}", task.status);
                Err(Error::permanent(message.unwrap_or_else(ended))
                    .code(code.as_deref().unwrap_or("task_failed")))
            }
            _ => self.park(json!({"task": task.task_id})),
        }
    }

    /// Add instances to the `map` of a step that this step is part of.
    ///
    /// # Errors
    ///
    /// Permanent: there is no such map.
    pub async fn spawn(&self, step: &str, items: impl Serialize) -> Result<(), Error> {
        let (name, _) = self.begin("spawn", None).await?;
        let items = to_json(items, "the items")?;
        self.ask::<Value>("spawn", json!({"call": name, "step": step, "items": items})).await.map(drop)
    }

    async fn wait<T: DeserializeOwned>(
        &self,
        kind: &'static str,
        mut wait_for: Value,
        what: &str,
        wait: Wait,
    ) -> Result<Option<T>, Error> {
        let (name, record) = self.begin(kind, wait.call_name.as_deref()).await?;
        let Some(record) = record else {
            wait_for["timeout_s"] = json!(wait.timeout.map(|limit| limit.as_secs_f64()));
            wait_for["call"] = json!(name);
            return self.park(wait_for);
        };
        if record.value["timed_out"] != true {
            return read(&record.value, what).map(Some);
        }
        if wait.continue_on_timeout {
            return Ok(None);
        }
        Err(Error::permanent(format!("{what} did not arrive in time")).code("wait_timeout"))
    }

    fn park<T>(&self, wait_for: Value) -> Result<T, Error> {
        self.suspend(Outcome::Parked { wait_for })
    }

    /// Name a durable call, and return its name and what an earlier attempt recorded.
    async fn begin(
        &self,
        kind: &'static str,
        given: Option<&str>,
    ) -> Result<(String, Option<&RecordedCall>), Error> {
        self.heartbeat()?;
        let name = given.map_or_else(|| self.next_name(kind), str::to_owned);
        let conflict = |message| Error::permanent(message).code("durable_call_conflict");
        if let Some(before) = lock(&self.0.calls).insert(name.clone(), kind) {
            return Err(conflict(format!(
                "step {} makes two durable calls with the name {name} ({before} and {kind}): give each \
                 call its own name, in a loop with its number",
                self.step()
            )));
        }
        let recorded = self.0.recorded.get_or_try_init(|| self.load_calls()).await?;
        match recorded.get(&name) {
            Some(record) if record.kind != kind => Err(conflict(format!(
                "step {} recorded {name} as a call of {}, but now calls {kind} with that name: restore \
                 the order of its calls, give them names, or delete the records with \
                 `tasker task retry --fresh`",
                self.step(),
                record.kind
            ))),
            record => Ok((name, record)),
        }
    }

    fn next_name(&self, kind: &'static str) -> String {
        let mut counts = lock(&self.0.counts);
        let number = counts.entry(kind).or_default();
        *number += 1;
        format!("{kind}-{number}")
    }

    async fn load_calls(&self) -> Result<HashMap<String, RecordedCall>, Error> {
        if self.attempt() == 1 {
            return Ok(HashMap::new());
        }
        let Calls { calls } = self.ask("calls", json!({})).await?;
        Ok(calls.into_iter().map(|call| (call.name.clone(), call)).collect())
    }
}
