use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use serde::de::DeserializeOwned;
use serde_json::{json, Value};
use tokio::sync::{watch, OwnedSemaphorePermit, RwLock, Semaphore};
use tokio::time::sleep;

use crate::api::{Api, ApiError, Call};
use crate::context::{Context, Services, Signals};
use crate::error::Error;
use crate::handler::{panicked, Call as HandlerCall, HandlerOptions};
use crate::protocol::{ending_of, Claimed, ClaimedStep, Payload, Registered};

const MOST_REVOKED: usize = 1_000;
const SEND_LOGS_EVERY: Duration = Duration::from_millis(500);
const LATER: Duration = Duration::from_secs(5); // after a refusal that an operator has to mend

pub(crate) type Slot = Arc<OwnedSemaphorePermit>;

pub(crate) struct Handler {
    pub name: String,
    pub options: HandlerOptions,
    pub call: HandlerCall,
}

/// An outcome that is to be reported.
struct Ended {
    ticket: String,
    text: String,
    /// The slot of its attempt, unless the handler still runs.
    slot: Option<Slot>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Over {
    LeaseLost,
    Drained,
}

#[derive(Default)]
struct State {
    attempts: HashMap<String, Arc<Signals>>,
    ended: Vec<Ended>,
    unanswered: Vec<String>,
    /// Whether an answer that may have brought steps was lost, and the slots kept for them.
    lost_answer: bool,
    lost_slots: Vec<Slot>,
    /// Tickets that were cancelled before the answer that brings them has arrived.
    revoked: HashSet<String>,
    draining: bool,
    quiet: bool,
    over: Option<Over>,
}

impl State {
    fn held(&self) -> Vec<&str> {
        let ended = self.ended.iter().map(|ended| &ended.ticket);
        let all = self.attempts.keys().chain(&self.unanswered).chain(ended);
        all.map(String::as_str).collect()
    }

    fn is_open(&self) -> bool {
        !self.draining && self.over.is_none()
    }

    fn is_idle(&self) -> bool {
        self.attempts.is_empty() && self.ended.is_empty() && self.unanswered.is_empty()
    }
}

/// One registration of a worker: it claims, runs, settles and renews until it is drained or its
/// lease is lost.
pub(crate) struct Session {
    api: Api,
    registered: Registered,
    handlers: Arc<Vec<Handler>>,
    slots: Arc<Semaphore>,
    state: watch::Sender<State>,
    /// Claims and settlements under way read it; a resumption, which excludes them, writes it.
    exchange: RwLock<()>,
}

impl Session {
    pub(crate) fn new(
        api: Api,
        registered: Registered,
        handlers: Arc<Vec<Handler>>,
        slots: Arc<Semaphore>,
    ) -> Arc<Self> {
        Arc::new(Self {
            api,
            registered,
            handlers,
            slots,
            state: watch::Sender::new(State::default()),
            exchange: RwLock::new(()),
        })
    }

    pub(crate) fn api(&self) -> &Api {
        &self.api
    }

    /// Claim and run steps until `drain` has ended or the lease is lost.
    pub(crate) async fn run(self: &Arc<Self>) -> Over {
        tokio::join!(
            self.claim_steps(),
            self.renew_lease(),
            self.settle_all(),
            self.send_logs()
        );
        self.state.borrow().over.unwrap_or(Over::Drained)
    }

    /// Claim no more, wait for running handlers, settle and retire.
    pub(crate) async fn drain(&self, grace: Duration) {
        self.update(|state| state.draining = true);
        let _ =
            tokio::time::timeout(grace, self.until(|state| state.over.is_some() || state.is_idle())).await;
        let running: Vec<String> = self.state.borrow().attempts.keys().cloned().collect();
        for ticket in running {
            self.end(
                &ticket,
                &json!({"outcome": "released"}),
                None,
                Some("the worker shuts down"),
            );
        }
        let last = grace.max(Duration::from_secs(5));
        let _ = tokio::time::timeout(last, self.until(|state| state.over.is_some() || state.is_idle())).await;
        if self.state.borrow().over.is_some() {
            return;
        }
        self.update(|state| state.over = Some(Over::Drained));
        let call = Call::new(Method::DELETE, self.path("")).within(5.0).retries(2);
        if let Err(error) = self.api.send::<Value>(call).await {
            eprintln!("tasker: the worker could not retire: {error}");
        }
    }

    // ---------------------------------------------------------------- loops

    async fn claim_steps(self: &Arc<Self>) {
        let mut failures = 0;
        loop {
            if self.state.borrow().lost_answer {
                self.resume().await;
            }
            let slots = tokio::select! {
                slots = self.free_slots() => slots,
                () = self.until(|state| !state.is_open() || state.lost_answer) => vec![],
            };
            if !self.state.borrow().is_open() {
                return;
            }
            if self.state.borrow().quiet {
                drop(slots);
                self.until(|state| !state.quiet || !state.is_open()).await;
                continue;
            }
            if slots.is_empty() {
                continue;
            }
            let guard = self.exchange.read().await;
            if self.state.borrow().lost_answer {
                continue;
            }
            let wait = self.registered.wait_s;
            let call = Call::post(self.path("/claim"), &json!({"max": slots.len(), "wait_s": wait}));
            let claimed = tokio::select! {
                claimed = self.send::<Claimed>(call.within(wait + 10.0).retries(0)) => Some(claimed),
                () = self.until(|state| !state.is_open() || state.lost_answer) => None,
            };
            drop(guard);
            match claimed {
                Some(Ok(claimed)) => {
                    failures = 0;
                    self.accept(claimed, slots);
                }
                Some(Err(error)) if !error.is_lost() => self.pause(&error, &mut failures).await,
                lost => {
                    self.lose(slots);
                    if let Some(Err(error)) = lost {
                        self.pause(&error, &mut failures).await;
                    }
                }
            }
        }
    }

    async fn renew_lease(self: &Arc<Self>) {
        let mut failures = 0;
        let wait = self.registered.renew_s;
        while self.state.borrow().over.is_none() {
            let body = json!({"held": self.state.borrow().held(), "wait_s": wait});
            let call = Call::post(self.path("/renew"), &body)
                .within(wait + 10.0)
                .retries(0);
            let renewed = tokio::select! {
                renewed = self.send::<Claimed>(call) => renewed,
                () = self.until(|state| state.over.is_some()) => return,
            };
            match renewed {
                Ok(renewed) => {
                    failures = 0;
                    self.accept(renewed, vec![]);
                }
                Err(error) => self.pause(&error, &mut failures).await,
            }
        }
    }

    async fn send_logs(&self) {
        while self.state.borrow().over.is_none() {
            tokio::select! {
                () = sleep(SEND_LOGS_EVERY) => {}
                () = self.until(|state| state.over.is_some()) => return,
            }
            let running = self.state.borrow().attempts.clone();
            for (ticket, signals) in &running {
                self.send_log(ticket, signals).await;
            }
        }
    }

    async fn settle_all(self: &Arc<Self>) {
        loop {
            self.until(|state| state.over.is_some() || !state.ended.is_empty())
                .await;
            if self.state.borrow().over.is_some() {
                return;
            }
            let guard = self.exchange.read().await;
            let mut batch = self.take_batch();
            let open = self.state.borrow().is_open() && !self.state.borrow().quiet;
            let taken = batch.iter_mut().filter_map(|ended| ended.slot.take());
            // a handler that goes on after its timeout shares its slot
            let (mut slots, shared): (Vec<Slot>, Vec<Slot>) =
                taken.partition(|slot| Arc::strong_count(slot) == 1);
            if !open {
                slots.clear();
            }
            let settled = self.settle(&batch, slots.len()).await;
            drop(guard);
            drop(shared);
            self.update(|state| state.unanswered.clear());
            let lost = self.state.borrow().lost_answer;
            if let Some(settled) = settled {
                let unused = slots.split_off(settled.steps.len().min(slots.len()));
                self.accept(settled, slots);
                if lost {
                    self.lose(unused);
                }
            }
            if lost {
                self.resume().await;
            }
        }
    }

    /// Send a settlement until it is answered; None: it never will be.
    async fn settle(&self, batch: &[Ended], max: usize) -> Option<Claimed> {
        let mut max = max;
        let mut failures = 0;
        loop {
            match self.send::<Claimed>(self.settlement(batch, max).retries(0)).await {
                Ok(settled) => {
                    for problem in settled.problems.values() {
                        eprintln!("tasker: the server replaced an outcome: {problem}");
                    }
                    return Some(settled);
                }
                Err(_) if self.state.borrow().over.is_some() => {
                    self.send_last(batch);
                    return None;
                }
                Err(error) if matches!(error.status, Some(400 | 413 | 415 | 422)) => {
                    if batch.len() == 1 {
                        eprintln!("tasker: the server refused an outcome: {error}");
                        return None;
                    }
                    for ended in batch {
                        Box::pin(self.settle(std::slice::from_ref(ended), 0)).await;
                    }
                    return None;
                }
                Err(error) => {
                    self.update(|state| state.lost_answer = true);
                    self.pause(&error, &mut failures).await;
                    max = 0; // steps of the lost answer come with the resumption
                }
            }
        }
    }

    fn settlement(&self, batch: &[Ended], max: usize) -> Call {
        let texts: Vec<&str> = batch.iter().map(|ended| ended.text.as_str()).collect();
        let mut call = Call::new(Method::POST, self.path("/settle"));
        call.text = Some(format!(r#"{{"outcomes":[{}],"max":{max}}}"#, texts.join(",")));
        call
    }

    fn take_batch(&self) -> Vec<Ended> {
        let Registered {
            max_outcomes,
            body_bytes,
            ..
        } = self.registered;
        self.update(|state| {
            let mut bytes = 100;
            let fits = state.ended.iter().take(max_outcomes).take_while(|ended| {
                bytes += ended.text.len() + 1;
                bytes <= body_bytes
            });
            let count = fits.count().max(1).min(state.ended.len());
            let batch: Vec<Ended> = state.ended.drain(..count).collect();
            state.unanswered = batch.iter().map(|ended| ended.ticket.clone()).collect();
            batch
        })
    }

    // ---------------------------------------------------------------- lost answers

    fn lose(&self, slots: Vec<Slot>) {
        self.update(|state| {
            if state.over.is_none() {
                state.lost_answer = true;
                state.lost_slots.extend(slots);
            }
        });
    }

    /// Get the steps of lost answers, with no claim and no settlement under way.
    async fn resume(self: &Arc<Self>) {
        let _alone = self.exchange.write().await;
        let mut failures = 0;
        while self.state.borrow().lost_answer && self.state.borrow().over.is_none() {
            let body = json!({"held": self.state.borrow().held()});
            match self
                .send::<Claimed>(Call::post(self.path("/resume"), &body).retries(0))
                .await
            {
                Ok(resumed) => {
                    let slots = self.update(|state| {
                        state.lost_answer = false;
                        std::mem::take(&mut state.lost_slots)
                    });
                    self.accept(resumed, slots);
                }
                Err(error) => self.pause(&error, &mut failures).await,
            }
        }
    }

    fn end_lost(&self) {
        let last = self.update(|state| {
            if state.over.is_some() {
                return vec![];
            }
            eprintln!("tasker: the worker lost its lease and registers again");
            state.over = Some(Over::LeaseLost);
            state.lost_slots.clear();
            for (_, signals) in state.attempts.drain() {
                signals
                    .cancelled
                    .send_replace(Some("the worker lost its lease".into()));
            }
            std::mem::take(&mut state.ended)
        });
        self.send_last(&last);
    }

    /// Send outcomes once more after the lease was lost; the server accepts those that nobody took.
    fn send_last(&self, outcomes: &[Ended]) {
        if outcomes.is_empty() || self.state.borrow().over != Some(Over::LeaseLost) {
            return;
        }
        let (api, call) = (self.api.clone(), self.settlement(outcomes, 0));
        tokio::spawn(async move {
            if let Err(error) = api.send::<Value>(call).await {
                eprintln!("tasker: outcomes of the lost lease were refused: {error}");
            }
        });
    }

    // ---------------------------------------------------------------- attempts

    fn accept(self: &Arc<Self>, claimed: Claimed, mut slots: Vec<Slot>) {
        let steps: Vec<ClaimedStep> = self.update(|state| {
            state.quiet = claimed.quiet;
            for ticket in &claimed.cancelled {
                if let Some(signals) = state.attempts.remove(ticket) {
                    signals
                        .cancelled
                        .send_replace(Some("its task was cancelled".into()));
                }
            }
            if state.over.is_some() {
                return vec![];
            }
            let mut known: HashSet<&str> = state.held().into_iter().collect();
            known.extend(state.revoked.iter().map(String::as_str));
            let is_new = |step: &ClaimedStep| !known.contains(step.ticket.as_str());
            let steps = claimed.steps.into_iter().filter(is_new).collect();
            if state.revoked.len() > MOST_REVOKED {
                state.revoked.clear();
            }
            steps
        });
        for step in steps {
            let signals = Signals::new();
            self.update(|state| state.attempts.insert(step.ticket.clone(), Arc::clone(&signals)));
            tokio::spawn(Arc::clone(self).run_step(step, signals, slots.pop()));
        }
    }

    async fn run_step(self: Arc<Self>, claimed: ClaimedStep, signals: Arc<Signals>, slot: Option<Slot>) {
        let ticket = claimed.ticket.clone();
        let limits = (claimed.timeout_s, claimed.heartbeat_timeout_s);
        let mut work = tokio::spawn(Arc::clone(&self).call(claimed, Arc::clone(&signals), slot.clone()));
        let cancelled = async {
            let _ = signals.cancelled.subscribe().wait_for(Option::is_some).await;
        };
        tokio::select! {
            ended = &mut work => {
                let ended = ended.unwrap_or_else(|error| Err(panicked(error)));
                self.send_log(&ticket, &signals).await; // before the outcome: after it, the attempt is over
                let ended = signals.take_suspended().map_or(ended, |kind| Err(Error(Box::new(kind))));
                match ending_of(ended) {
                    Some(ending) => self.end(&ticket, &ending, slot, None),
                    None => self.update(|state| { state.attempts.remove(&ticket); }),
                }
            }
            (code, message) = limit(limits, &signals) => {
                let error = json!({"type": "Timeout", "code": code, "message": message, "retryable": true});
                work.abort();
                self.end(&ticket, &json!({"outcome": "failed", "error": error}), slot, Some(&message));
            }
            () = cancelled => work.abort(),
        }
    }

    async fn call(
        self: Arc<Self>,
        mut claimed: ClaimedStep,
        signals: Arc<Signals>,
        slot: Option<Slot>,
    ) -> Result<Value, Error> {
        let Some(handler) = self.find_handler(&claimed) else {
            let message = format!("this worker has no handler {}", claimed.handler);
            return Err(Error::permanent(message).code("handler_not_found"));
        };
        let call = Arc::clone(&handler.call);
        if claimed.payload_elsewhere {
            claimed.payload = self.ask::<Payload>(&claimed.ticket, "payload", json!({})).await?;
        }
        call(Context::new(
            claimed,
            signals,
            Services::Server(Arc::clone(&self)),
            slot,
        ))
        .await
    }

    fn find_handler(&self, claimed: &ClaimedStep) -> Option<&Handler> {
        let namespace = &claimed.namespace;
        let name = claimed.handler.replace("::", ".");
        let full = format!("{namespace}.{name}");
        let short = name.strip_prefix(&format!("{namespace}.")).unwrap_or(&name);
        let serves = |handler: &&Handler, name: &str| {
            let of = &handler.options.namespaces;
            let bound = of.is_empty() || of.iter().any(|each| each == namespace || each == "*");
            bound && handler.name.replace("::", ".") == name
        };
        for name in [name.as_str(), &full, short] {
            if let Some(handler) = self.handlers.iter().find(|handler| serves(handler, name)) {
                return Some(handler);
            }
        }
        None
    }

    /// Decide an attempt's outcome; with a reason, its handler is to stop.
    fn end(&self, ticket: &str, ending: &Value, slot: Option<Slot>, stopped: Option<&str>) {
        let mut outcome = ending.clone();
        outcome["ticket"] = json!(ticket);
        let mut text = outcome.to_string();
        if text.len() > self.registered.body_bytes - 1_000 {
            let error = json!({"type": "TooLarge", "code": "too_large", "message": "the result is too large", "retryable": false});
            text = json!({"ticket": ticket, "outcome": "failed", "error": error}).to_string();
        }
        self.update(|state| {
            let Some(signals) = state.attempts.remove(ticket) else {
                return;
            };
            if let Some(reason) = stopped {
                signals.cancelled.send_replace(Some(reason.into()));
            }
            state.ended.push(Ended {
                ticket: ticket.into(),
                text,
                slot,
            });
        });
    }

    /// Send the log records that were not sent yet, with one try: what fails is sent by the next call.
    async fn send_log(&self, ticket: &str, signals: &Signals) {
        if !self.registered.features.iter().any(|feature| feature == "logs") {
            return;
        }
        let send = |lines| async move {
            let call = Call::post(self.path("/logs"), &json!({"ticket": ticket, "lines": lines}));
            match self.api.send::<Value>(call.within(5.0).retries(0)).await {
                Err(error) if error.pause(0).is_some() => return false,
                Err(error) if error.code == "attempt_cancelled" => self.stop(ticket, &error.message),
                Err(error) => eprintln!("tasker: log records were refused: {error}"),
                Ok(_) => {}
            }
            true
        };
        signals.log.flush(send).await;
    }

    /// Forget an attempt, and stop its handler.
    fn stop(&self, ticket: &str, reason: &str) {
        if let Some(signals) = self.update(|state| state.attempts.remove(ticket)) {
            signals.cancelled.send_replace(Some(reason.into()));
        }
    }

    /// Send a request of a running attempt.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        ticket: &str,
        route: &str,
        mut body: Value,
    ) -> Result<T, Error> {
        body["ticket"] = json!(ticket);
        let call = Call::post(self.path(&format!("/{route}")), &body).retries(u32::MAX);
        let error = match self.send(call).await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        if error.is_lease_lost() {
            return Err(Error::cancelled("the worker lost its lease"));
        }
        if error.code == "attempt_cancelled" {
            self.stop(ticket, &error.message);
            return Err(Error::cancelled(error.message));
        }
        Err(Error::permanent(error.message).code(error.code))
    }

    // ---------------------------------------------------------------- helpers

    /// Return all free slots, at least one; waits for it.
    async fn free_slots(&self) -> Vec<Slot> {
        let mut slots = vec![];
        if let Ok(first) = Arc::clone(&self.slots).acquire_owned().await {
            slots.push(Arc::new(first));
        }
        while let Ok(next) = Arc::clone(&self.slots).try_acquire_owned() {
            slots.push(Arc::new(next));
        }
        slots
    }

    async fn send<T: DeserializeOwned>(&self, call: Call) -> Result<T, ApiError> {
        let answer = self.api.send(call).await;
        if answer.as_ref().is_err_and(ApiError::is_lease_lost) {
            self.end_lost();
        }
        answer
    }

    async fn pause(&self, error: &ApiError, failures: &mut u32) {
        let pause = match error.code.as_str() {
            "claim_under_way" => Some(Duration::from_millis(100)),
            _ => error.pause(*failures),
        };
        *failures += 1;
        if self.state.borrow().over.is_some() {
            return;
        }
        if pause.is_none() {
            eprintln!("tasker: the server refused a request of the worker: {error}");
        }
        tokio::select! {
            () = sleep(pause.unwrap_or(LATER)) => {}
            () = self.until(|state| state.over.is_some()) => {}
        }
    }

    fn path(&self, rest: &str) -> String {
        format!("/v1/workers/{}{rest}", self.registered.worker)
    }

    fn update<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let mut returned = None;
        self.state.send_modify(|state| returned = Some(change(state)));
        returned.expect("send_modify calls its function")
    }

    async fn until(&self, condition: impl Fn(&State) -> bool) {
        let _ = self.state.subscribe().wait_for(|state| condition(state)).await;
    }
}

/// Return the code and the message of the first time limit of an attempt that is exceeded.
async fn limit(
    (timeout, heartbeat): (Option<f64>, Option<f64>),
    signals: &Signals,
) -> (&'static str, String) {
    let whole = async {
        match timeout {
            Some(seconds) => sleep(Duration::from_secs_f64(seconds)).await,
            None => std::future::pending().await,
        }
    };
    let silent = async {
        let Some(seconds) = heartbeat else {
            return std::future::pending().await;
        };
        let limit = Duration::from_secs_f64(seconds);
        loop {
            let since = signals.heartbeat.borrow().elapsed();
            if since >= limit {
                return;
            }
            sleep(limit - since).await;
        }
    };
    tokio::select! {
        () = whole => ("timeout", format!("the attempt took longer than {} s", timeout.unwrap_or_default())),
        () = silent => ("heartbeat_timeout", format!("no heartbeat within {} s", heartbeat.unwrap_or_default())),
    }
}
