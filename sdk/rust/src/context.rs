use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{json, Map, Value};
use tokio::sync::{oneshot, watch, OnceCell};
use tokio::time::Instant;

use crate::api::ApiError;
use crate::client::{Client, Creator};
use crate::error::Error;
use crate::log::{Level, StepLog};
use crate::protocol::{Calls, ChildTask, ClaimedStep, Outcome, Payload, RecordedCall};
use crate::session::Session;
use crate::testing::Recording;

const ONE_TRY_WITHIN: Duration = Duration::from_secs(5);

/// Says why an attempt must stop, as soon as it must.
pub(crate) type Cancel = watch::Sender<Option<String>>;

/// Where the requests of a running attempt go.
pub(crate) enum Services {
    Server(Arc<Session>),
    Test(Recording),
}

pub(crate) struct Attempt {
    pub claimed: ClaimedStep,
    pub cancel: Cancel,
    pub heartbeat: Mutex<Instant>,
    /// How a durable call ended the attempt, even if the handler has swallowed its error.
    pub suspended: Mutex<Option<Outcome>>,
    pub log: Mutex<StepLog>,
    services: Services,
    payload: OnceLock<Payload>,
    checkpoint: Mutex<Option<Value>>,
    recorded: OnceCell<HashMap<String, RecordedCall>>,
    names: Mutex<HashMap<String, &'static str>>,
    counts: Mutex<HashMap<&'static str, usize>>,
    client: Client,
    /// Dropped with the last clone of the context: nothing of the handler runs any more.
    _running: oneshot::Sender<()>,
}

/// A handler's view of one attempt of one step.
#[derive(Clone)]
pub struct Context(pub(crate) Arc<Attempt>);

/// The range of numbers, without its end, that an instance of a `batch` works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Cursor {
    /// The first number.
    pub start: i64,
    /// The number after the last.
    pub end: i64,
}

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

macro_rules! texts_of_claim {
    ($($(#[$doc:meta])* $name:ident -> $type:ty, $read:ident;)*) => {
        $($(#[$doc])* pub fn $name(&self) -> $type { self.0.claimed.$name.$read() })*
    };
}

impl Context {
    pub(crate) fn new(
        mut claimed: ClaimedStep,
        cancel: Cancel,
        services: Services,
    ) -> (Self, oneshot::Receiver<()>) {
        let creator = Arc::new(Creator {
            ticket: claimed.ticket.clone(),
            idempotency_key: claimed.idempotency_key.clone(),
            created: AtomicUsize::new(0),
        });
        let client = match &services {
            Services::Server(session) => Client::of(session.api.clone(), Some(creator)),
            Services::Test(_) => Client::with_key("http://localhost:1", None),
        };
        let payload = OnceLock::new();
        if !claimed.payload_elsewhere {
            let _ = payload.set(std::mem::take(&mut claimed.payload));
        }
        let (running, ended) = oneshot::channel();
        let attempt = Attempt {
            claimed,
            cancel,
            heartbeat: Mutex::new(Instant::now()),
            suspended: Mutex::default(),
            log: Mutex::default(),
            services,
            payload,
            checkpoint: Mutex::default(),
            recorded: OnceCell::new(),
            names: Mutex::default(),
            counts: Mutex::default(),
            client,
            _running: running,
        };
        (Self(Arc::new(attempt)), ended)
    }

    texts_of_claim! {
        /// Return the id of the task.
        task_id -> &str, as_str;
        /// Return the step's name. The name of an instance includes its number: `convert[17]`.
        step -> &str, as_str;
        /// Return the namespace of the template.
        namespace -> &str, as_str;
        /// Return the name of the template.
        template -> &str, as_str;
        /// Return the version of the template.
        version -> &str, as_str;
        /// Return a key for effects outside: the same in all attempts, unique to the step.
        idempotency_key -> &str, as_str;
        /// Return the id that connects related tasks.
        correlation_id -> &str, as_str;
        /// Return the id of the task that created this one.
        parent_id -> Option<&str>, as_deref;
        /// Return the W3C traceparent of the request that created the task.
        traceparent -> Option<&str>, as_deref;
        /// Return which entry point of the handler the template names.
        method -> Option<&str>, as_deref;
        /// Return where another system completes this external step.
        completion_url -> Option<&str>, as_deref;
    }

    /// Return the attempt's number, from 1; never reused.
    pub fn attempt(&self) -> u32 {
        self.0.claimed.attempt
    }

    /// Return how many attempts count against `max_attempts`, including this one.
    pub fn counted_attempts(&self) -> u32 {
        self.0.claimed.counted_attempts
    }

    /// Return the maximum number of attempts.
    pub fn max_attempts(&self) -> u32 {
        self.0.claimed.max_attempts
    }

    fn payload(&self) -> &Payload {
        self.0.payload.get_or_init(Payload::default)
    }

    /// Read what did not fit into the answer that brought the step.
    pub(crate) async fn load_payload(&self) -> Result<(), Error> {
        if self.0.claimed.payload_elsewhere {
            let _ = self.0.payload.set(self.ask("payload", json!({})).await?);
        }
        Ok(())
    }

    /// Return the task's context: its inputs by name.
    pub fn inputs(&self) -> &Value {
        &self.payload().context
    }

    /// Return the task's context as a type of your own.
    ///
    /// # Errors
    ///
    /// Permanent: it is no `T`.
    pub fn context<T: DeserializeOwned>(&self) -> Result<T, Error> {
        read(Some(self.inputs()), || "the context".into())
    }

    /// Return one input; an absent one is null, which is an `Option`'s None.
    ///
    /// # Errors
    ///
    /// Permanent: it is no `T`.
    pub fn input<T: DeserializeOwned>(&self, name: &str) -> Result<T, Error> {
        read(self.inputs().get(name), || format!("input {name}"))
    }

    /// Return the results of the steps before this one, by name.
    pub fn results(&self) -> &HashMap<String, Value> {
        &self.payload().results
    }

    /// Return the result of an earlier step; without one it is null.
    ///
    /// # Errors
    ///
    /// Permanent: it is no `T`.
    pub fn result<T: DeserializeOwned>(&self, step: &str) -> Result<T, Error> {
        read(self.results().get(step), || format!("the result of {step}"))
    }

    /// Return the error of an earlier step that failed.
    pub fn failure_of(&self, step: &str) -> Option<&Value> {
        self.payload().failures.get(step)
    }

    /// Return the step's configuration in the template.
    pub fn configuration(&self) -> &Map<String, Value> {
        &self.payload().config
    }

    /// Return one value of the step's configuration in the template.
    ///
    /// # Errors
    ///
    /// Permanent: it is no `T`.
    pub fn config<T: DeserializeOwned>(&self, name: &str) -> Result<T, Error> {
        read(self.payload().config.get(name), || format!("config {name}"))
    }

    /// Return the element for which this instance of a `map` runs.
    ///
    /// # Errors
    ///
    /// Permanent: it is no `T`.
    pub fn item<T: DeserializeOwned>(&self) -> Result<T, Error> {
        read(self.items().get("item"), || "the item".into())
    }

    /// Return the numbers that this instance of a `batch` works on.
    ///
    /// # Errors
    ///
    /// Permanent: the step is not part of a batch.
    pub fn cursor(&self) -> Result<Cursor, Error> {
        read(self.items().get("cursor"), || "the cursor".into())
    }

    fn items(&self) -> &Map<String, Value> {
        &self.payload().items
    }

    /// Return the value of the last checkpoint of this or an earlier attempt; without one it is null.
    ///
    /// # Errors
    ///
    /// Permanent: it is no `T`.
    pub fn last_checkpoint<T: DeserializeOwned>(&self) -> Result<T, Error> {
        let saved = lock(&self.0.checkpoint);
        let value = saved.as_ref().unwrap_or(&self.payload().checkpoint);
        read(Some(value), || "the checkpoint".into())
    }

    /// Return the client that creates and reads tasks on behalf of this attempt.
    pub fn client(&self) -> &Client {
        &self.0.client
    }

    /// Return whether this attempt must stop.
    pub fn is_cancelled(&self) -> bool {
        self.0.cancel.borrow().is_some()
    }

    /// Wait until this attempt must stop. Async handlers are dropped then anyway.
    pub async fn cancelled(&self) {
        let mut cancelled = self.0.cancel.subscribe();
        let _ = cancelled.wait_for(Option::is_some).await;
    }

    /// Report that the attempt is alive; call it in long loops.
    ///
    /// # Errors
    ///
    /// The attempt must stop: pass the error on.
    pub fn heartbeat(&self) -> Result<(), Error> {
        if let Some(why) = &*self.0.cancel.borrow() {
            return Err(Error::cancelled(why.clone()));
        }
        *lock(&self.0.heartbeat) = Instant::now();
        Ok(())
    }

    /// Save the progress of this attempt for the next one; durable on return.
    ///
    /// # Errors
    ///
    /// The attempt must stop, or the value is too large.
    pub async fn checkpoint(&self, value: impl Serialize) -> Result<(), Error> {
        let value = to_json(value, "the checkpoint")?;
        self.ask::<Value>("checkpoint", json!({"value": value})).await?;
        *lock(&self.0.checkpoint) = Some(value);
        Ok(())
    }

    /// End the attempt with a checkpoint: the handler starts again later.
    ///
    /// # Errors
    ///
    /// Always: pass the error on.
    pub fn hand_back<T>(&self, checkpoint: impl Serialize) -> Result<T, Error> {
        let checkpoint = to_json(checkpoint, "the checkpoint")?;
        self.suspend(Outcome::Yielded { checkpoint })
    }

    /// Report progress for people: a fraction from 0 to 1, and a text. It is sent within a second.
    ///
    /// # Errors
    ///
    /// The attempt must stop: pass the error on.
    pub fn progress(&self, fraction: f64, message: &str) -> Result<(), Error> {
        self.heartbeat()?;
        let fraction = fraction.max(0.0).clamp(0.0, 1.0); // `max` makes NaN 0
        lock(&self.0.log).progress(fraction, message);
        Ok(())
    }

    /// Store a log record with this attempt. `fields` is an object, or `()` for none; a value without
    /// a JSON form is left out.
    pub fn log(&self, level: Level, message: impl AsRef<str>, fields: impl Serialize) {
        let fields = match serde_json::to_value(fields) {
            Ok(Value::Object(fields)) => fields,
            _ => Map::new(),
        };
        lock(&self.0.log).add(level, message.as_ref(), fields.into());
    }

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
        let what = || format!("the result of the durable call {name}");
        if let Some(record) = record {
            return read(Some(&record.value), what);
        }
        let value = to_json(call().await?, &what())?;
        self.ask::<Value>("once", json!({"call": name, "value": value})).await?;
        read(Some(&value), what)
    }

    /// Wait without a worker: the attempt ends, and the handler runs again from its beginning when
    /// the time has passed; this call then returns at once.
    ///
    /// # Errors
    ///
    /// The attempt ends here: pass the error on.
    pub async fn sleep(&self, delay: Duration) -> Result<(), Error> {
        let (name, record) = self.begin("sleep", None).await?;
        match record {
            None => self.park(json!({"delay_s": delay.as_secs_f64(), "call": name})),
            Some(record) => match record.remaining_s {
                Some(left) if left > 0.0 => self.park(json!({"delay_s": left, "call": name})),
                _ => Ok(()),
            },
        }
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
        arrival.map(|arrival| read(Some(&arrival.payload), || format!("the payload of {what}"))).transpose()
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
        let what = || format!("the result of {template}");
        if let Some(record) = record {
            return read(Some(&record.value), what);
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
            "complete" | "resolved_manually" => read(Some(&task.result), what),
            "error" | "cancelled" => {
                let text = |field: &str| task.error[field].as_str().map(str::to_owned);
                let ended = || format!("the task of {template} ended as {}", task.status);
                Err(Error::permanent(text("message").unwrap_or_else(ended))
                    .code(text("code").unwrap_or_else(|| "task_failed".into())))
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
            return read(Some(&record.value), || what.into()).map(Some);
        }
        if wait.continue_on_timeout {
            return Ok(None);
        }
        Err(Error::permanent(format!("{what} did not arrive in time")).code("wait_timeout"))
    }

    fn park<T>(&self, wait_for: Value) -> Result<T, Error> {
        self.suspend(Outcome::Parked { wait_for })
    }

    fn suspend<T>(&self, how: Outcome) -> Result<T, Error> {
        *lock(&self.0.suspended) = Some(how.clone());
        Err(how.into())
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
        if let Some(before) = lock(&self.0.names).insert(name.clone(), kind) {
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

    /// Send a request of the attempt, until it is answered.
    async fn ask<T: DeserializeOwned>(&self, route: &str, body: Value) -> Result<T, Error> {
        self.heartbeat()?;
        match self.send(route, body, u32::MAX).await {
            Ok(answer) => read(Some(&answer), || format!("the answer of {route}")),
            Err(error) if self.is_cancelled() => Err(Error::cancelled(error.message)),
            Err(error) => Err(Error::permanent(error.message).code(error.code)),
        }
    }

    async fn send(&self, route: &str, mut body: Value, retries: u32) -> Result<Value, ApiError> {
        body["ticket"] = json!(self.0.claimed.ticket);
        let session = match &self.0.services {
            Services::Test(recording) => return Ok(recording.answer(route, &body)),
            Services::Server(session) => session,
        };
        let mut request = session.post(route).json(&body);
        if retries == 0 {
            request = request.timeout(ONE_TRY_WITHIN);
        }
        let answer = session.api.send(request, retries).await;
        if let Err(error) = &answer {
            if error.code == "attempt_cancelled" || error.is_lease_lost() {
                self.0.cancel.send_replace(Some(error.message.clone()));
            }
        }
        answer
    }

    /// Send the log records that were not sent yet, with one try: what fails is sent by the next call.
    pub(crate) async fn send_log(&self) {
        if matches!(&self.0.services, Services::Server(session) if !session.takes_logs()) {
            return;
        }
        loop {
            let lines = lock(&self.0.log).next_batch();
            if lines.is_empty() {
                return;
            }
            match self.send("logs", json!({"lines": lines}), 0).await {
                Err(error) if self.is_cancelled() || error.pause(0).is_some() => return,
                Err(error) => eprintln!("tasker: log records were refused: {error}"),
                Ok(_) => {}
            }
            lock(&self.0.log).forget(lines.len());
        }
    }
}

fn read<T: DeserializeOwned>(value: Option<&Value>, what: impl FnOnce() -> String) -> Result<T, Error> {
    T::deserialize(value.unwrap_or(&Value::Null))
        .map_err(|error| Error::permanent(format!("{}: {error}", what())).code("invalid_input"))
}

pub(crate) fn to_json(value: impl Serialize, what: &str) -> Result<Value, Error> {
    serde_json::to_value(value)
        .map_err(|error| Error::permanent(format!("{what} has no JSON form: {error}")).code("invalid_result"))
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
