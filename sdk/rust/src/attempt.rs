//! Attempts: what they consist of, the requests that they send, and how they are run.

use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::{json, Value};
use tokio::sync::{watch, OnceCell};
use tokio::task::JoinError;
use tokio::time::{sleep, sleep_until, timeout, Instant};

use crate::api::{Api, ApiError};
use crate::context::{read, Context};
use crate::error::Error;
use crate::handler::{panicked, Call};
use crate::log::StepLog;
use crate::protocol::{ClaimedStep, Outcome, Payload, RecordedCall};
use crate::session::{Session, State};
use crate::testing::Recording;

const NO_LIMIT: f64 = 1e9; // seconds: 30 years
const SEND_LOGS_EVERY: Duration = Duration::from_millis(500);
const SEND_LOGS_WITHIN: Duration = Duration::from_secs(5);

/// Says why an attempt must stop, as soon as it must.
pub(crate) type Cancel = watch::Sender<Option<String>>;

/// Where the requests of a running attempt go.
pub(crate) enum Services {
    Server(Arc<Session>),
    Test(Recording),
}

/// What all clones of an attempt's context share.
pub(crate) struct Attempt {
    pub claimed: ClaimedStep,
    /// What did not fit into the answer that brought the step.
    pub payload: OnceLock<Payload>,
    pub cancel: Cancel,
    /// While it exists, code of the handler may run.
    pub cancelled: watch::Receiver<Option<String>>,
    pub heartbeat: Mutex<Instant>,
    /// How a durable call ended the attempt, even if the handler has swallowed its error.
    pub suspended: Mutex<Option<Outcome>>,
    pub checkpoint: Mutex<Option<Value>>,
    pub recorded: OnceCell<HashMap<String, RecordedCall>>,
    /// The kinds of the durable calls by name.
    pub calls: Mutex<HashMap<String, &'static str>>,
    /// How many durable calls of a kind got a name by default.
    pub counts: Mutex<HashMap<&'static str, usize>>,
    pub log: Mutex<StepLog>,
    /// How many tasks its client has created.
    pub created: AtomicUsize,
    pub api: Api,
    services: Services,
}

impl Context {
    pub(crate) fn new(claimed: ClaimedStep, services: Services) -> Self {
        let (api, takes_logs) = match &services {
            Services::Server(session) => (session.api.clone(), session.takes_logs()),
            Services::Test(_) => (Api::new("http://localhost:1", None, None), true),
        };
        let (cancel, cancelled) = watch::channel(None);
        Self(Arc::new(Attempt {
            claimed,
            payload: OnceLock::new(),
            cancel,
            cancelled,
            heartbeat: Mutex::new(Instant::now()),
            suspended: Mutex::default(),
            checkpoint: Mutex::default(),
            recorded: OnceCell::new(),
            calls: Mutex::default(),
            counts: Mutex::default(),
            log: Mutex::new(StepLog::new(takes_logs)),
            created: AtomicUsize::new(0),
            api,
            services,
        }))
    }

    /// Send a request of the attempt, until it is answered.
    pub(crate) async fn ask<T: DeserializeOwned>(&self, route: &str, body: Value) -> Result<T, Error> {
        self.heartbeat()?;
        match self.send(route, body, u32::MAX).await {
            Ok(answer) => read(&answer, format_args!("the answer of {route}")),
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
        let answer = session.api.send(session.post(route).json(&body), retries).await;
        if let Err(error) = &answer {
            if error.code == "attempt_cancelled" || error.is_lease_lost() {
                self.0.cancel.send_replace(Some(error.message.clone()));
            }
        }
        answer
    }

    /// Send the log records that were not sent yet, with one try: what fails is sent by the next call.
    pub(crate) async fn send_log(&self) {
        loop {
            let lines = lock(&self.0.log).next_batch();
            if lines.is_empty() {
                return;
            }
            match timeout(SEND_LOGS_WITHIN, self.send("logs", json!({"lines": lines}), 0)).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) if !self.is_cancelled() && error.pause(0).is_none() => {
                    eprintln!("tasker: log records were refused: {error}");
                }
                _ => return,
            }
            lock(&self.0.log).forget(lines.len());
        }
    }

    async fn send_logs(&self) {
        loop {
            sleep(SEND_LOGS_EVERY).await;
            self.send_log().await;
        }
    }

    pub(crate) async fn call(self, handler: Option<Call>) -> Result<Value, Error> {
        let Some(handler) = handler else {
            let message = format!("this worker has no handler {}", self.0.claimed.handler);
            return Err(Error::permanent(message).code("handler_not_found"));
        };
        if self.0.claimed.payload_elsewhere {
            let _ = self.0.payload.set(self.ask("payload", json!({})).await?);
        }
        handler(self).await
    }

    /// Return the outcome of a handler that has ended.
    pub(crate) fn conclude(&self, ended: Result<Result<Value, Error>, JoinError>) -> Outcome {
        if let Some(suspended) = lock(&self.0.suspended).take() {
            return suspended;
        }
        match ended.unwrap_or_else(|error| Err(panicked(error))) {
            Ok(result) => Outcome::Complete { result },
            Err(error) => *error.0,
        }
    }

    /// Wait until a time limit is exceeded, and return the error.
    async fn overdue(&self) -> Error {
        let ClaimedStep { timeout_s, heartbeat_timeout_s, .. } = self.0.claimed;
        let within = |limit: Option<f64>| Duration::from_secs_f64(limit.unwrap_or(NO_LIMIT));
        let silence = async {
            let end = || *lock(&self.0.heartbeat) + within(heartbeat_timeout_s);
            while Instant::now() < end() {
                sleep_until(end()).await;
            }
        };
        let (code, what, limit) = tokio::select! {
            () = sleep(within(timeout_s)) => ("timeout", "the attempt took longer than", timeout_s),
            () = silence => ("heartbeat_timeout", "no heartbeat within", heartbeat_timeout_s),
        };
        Error::failed("Timeout", format!("{what} {} s", limit.unwrap_or(NO_LIMIT)), true).code(code)
    }
}

/// Run the handler of an attempt. Say how the attempt ends, and when its slot is free.
pub(crate) async fn run(
    context: Context,
    handler: Option<Call>,
    session: Arc<Session>,
    state: watch::Sender<State>,
) {
    let ticket = context.0.claimed.ticket.clone();
    let mut work = tokio::spawn(context.clone().call(handler));
    let stopped = tokio::select! {
        ended = &mut work => {
            context.send_log().await; // before the outcome: after it, the attempt is over
            let ended = session.ended(&ticket, &context.conclude(ended));
            return state.send_modify(|state| {
                state.end(&ticket, ended);
                state.occupied -= 1;
            });
        }
        error = context.overdue() => {
            context.0.cancel.send_replace(Some(error.to_string()));
            session.ended(&ticket, &error.0)
        }
        () = context.cancelled() => None,
        () = context.send_logs() => None,
    };
    state.send_modify(|state| state.end(&ticket, stopped));
    work.abort();
    let cancel = context.0.cancel.clone();
    drop(context);
    cancel.closed().await; // a function in a thread goes on, and keeps its slot
    state.send_modify(|state| state.occupied -= 1);
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
