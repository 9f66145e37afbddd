//! The life of a registered worker: it renews its lease, claims steps and settles their outcomes.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Method, RequestBuilder};
use serde_json::{json, Value};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::api::{Api, ApiError, LATER};
use crate::attempt::{self, Cancel, Services};
use crate::context::Context;
use crate::error::Error;
use crate::handler::find;
use crate::protocol::{Claimed, ClaimedStep, Outcome, Registered};
use crate::worker::Worker;

const LAST: Duration = Duration::from_secs(5); // for the last settlement, and for retiring

/// One registration of a worker.
pub(crate) struct Session {
    pub api: Api,
    registered: Registered,
}

impl Session {
    pub fn new(api: Api, registered: Registered) -> Self {
        for (names, what) in [
            (&registered.unserved, "no template asks for these handlers yet"),
            (&registered.refused, "the API key may not serve these handlers"),
        ] {
            if !names.is_empty() {
                eprintln!("tasker: {what}: {}", names.join(", "));
            }
        }
        Self { api, registered }
    }

    pub fn takes_logs(&self) -> bool {
        self.registered.features.iter().any(|feature| feature == "logs")
    }

    pub fn post(&self, route: &str) -> RequestBuilder {
        let path = format!("/v1/workers/{}/{route}", self.registered.worker);
        self.api.request(Method::POST, &path)
    }

    fn settlement(&self, batch: &[Ended], max: usize) -> RequestBuilder {
        let outcomes: Vec<&str> = batch.iter().map(|ended| ended.text.as_str()).collect();
        let text = format!(r#"{{"outcomes":[{}],"max":{max}}}"#, outcomes.join(","));
        self.post("settle").header("content-type", "application/json").body(text)
    }

    /// Report what ended before the lease was lost: nobody may have taken it over.
    async fn settle_last(self: Arc<Self>, ended: Vec<Ended>) {
        if ended.is_empty() {
            return;
        }
        if let Err(error) = self.api.send::<Value>(self.settlement(&ended, 0), 5).await {
            eprintln!("tasker: outcomes of the lost lease were refused: {error}");
        }
    }

    /// Return an outcome as it is sent; None: the attempt was cancelled, and nothing is reported.
    pub fn ended(&self, ticket: &str, outcome: &Outcome) -> Option<Ended> {
        if matches!(outcome, Outcome::Cancelled(_)) {
            return None;
        }
        let ended = Ended::new(ticket, outcome);
        if ended.text.len() + 1_000 <= self.registered.body_bytes {
            return Some(ended);
        }
        let error = Error::failed("TooLarge", "the result is too large".into(), false);
        Some(Ended::new(ticket, &error.code("too_large").0))
    }
}

/// An outcome that is to be reported.
pub(crate) struct Ended {
    ticket: String,
    text: String,
}

impl Ended {
    fn new(ticket: &str, outcome: &Outcome) -> Self {
        let mut body = json!(outcome);
        body["ticket"] = json!(ticket);
        Self { ticket: ticket.into(), text: body.to_string() }
    }

    /// Let the step of a rejected outcome fail with the server's reason; that failure is not repeated.
    fn rejected(&self, reason: &ApiError) -> Option<Self> {
        let message = format!("the server rejected the outcome: {reason}");
        let error = Error::failed("Rejected", message, false).code("outcome_rejected");
        let failure = Self::new(&self.ticket, &error.0);
        (failure.text != self.text).then_some(failure)
    }
}

/// What a worker is doing.
#[derive(Default)]
pub(crate) struct State {
    slots: usize,
    running: HashMap<String, Cancel>,
    /// The number of handlers that run, with those whose attempts are over.
    pub occupied: usize,
    ended: Vec<Ended>,
    /// The outcomes of the settlement under way.
    unanswered: Vec<Ended>,
    /// How many steps the answer of the claim under way may bring.
    claiming: usize,
    /// How many steps the answer of the settlement under way may bring.
    settling: usize,
    /// Whether lost answers may have brought steps. Until these are resumed, none are claimed.
    lost_answers: bool,
    draining: bool,
    quiet: bool,
}

impl State {
    /// Return the tickets of all attempts that are not settled.
    fn held(&self) -> HashSet<&str> {
        let outcomes = self.unanswered.iter().chain(&self.ended);
        let tickets = outcomes.map(|ended| &ended.ticket).chain(self.running.keys());
        tickets.map(String::as_str).collect()
    }

    /// Return how many more steps the worker may ask for.
    fn room(&self) -> usize {
        if self.draining || self.quiet || self.lost_answers {
            return 0;
        }
        let settling = self.settling.max(self.unanswered.len()); // the server still counts them
        self.slots.saturating_sub(self.occupied + self.ended.len() + self.claiming + settling)
    }

    /// Return how many steps to claim.
    fn next_claim(&mut self) -> Option<usize> {
        self.claiming = self.room();
        (self.claiming > 0).then_some(self.claiming)
    }

    /// Return the outcomes to settle, and how many steps to claim with them. Those without an answer
    /// come first, unchanged and without a claim.
    fn next_settlement(&mut self, limits: &Registered) -> Option<(&[Ended], usize)> {
        if self.unanswered.is_empty() {
            if self.ended.is_empty() || self.must_resume() {
                return None;
            }
            let mut bytes = 100;
            let fits = self.ended.iter().take(limits.max_outcomes).take_while(|ended| {
                bytes += ended.text.len() + 1;
                bytes <= limits.body_bytes
            });
            let count = fits.count().max(1);
            let batch = self.ended.drain(..count).collect();
            self.settling = self.room();
            self.unanswered = batch;
        }
        Some((&self.unanswered, self.settling))
    }

    fn must_resume(&self) -> bool {
        self.lost_answers && !self.draining // when it drains, retiring hands back what it holds
    }

    /// Return whether to ask for the steps of lost answers, with no claim and settlement under way.
    fn may_resume(&self) -> bool {
        self.must_resume() && self.claiming == 0 && self.unanswered.is_empty()
    }

    /// Return whether the claim under way has to end. Its answer then counts as lost.
    fn gives_up_claim(&mut self) -> Option<()> {
        (self.lost_answers || self.draining).then_some(())
    }

    /// Take note of a request that has failed.
    fn fail(&mut self, route: &str, error: &ApiError) {
        match route {
            "claim" => self.claiming = 0,
            "settle" => self.settling = 0,
            _ => return,
        }
        self.lost_answers |= error.is_lost();
        if route == "settle" && matches!(error.status, Some(400 | 413 | 415 | 422)) {
            let mut rest = self.unanswered.split_off(self.unanswered.len() / 2);
            if self.unanswered.is_empty() {
                rest = rest.iter().filter_map(|only| only.rejected(error)).collect();
            }
            self.ended.splice(..0, rest);
        }
    }

    /// End an attempt, unless it is over.
    pub fn end(&mut self, ticket: &str, ended: Option<Ended>) {
        if self.running.remove(ticket).is_some() {
            self.ended.extend(ended);
        }
    }

    /// Stop all attempts, and return their tickets.
    fn cancel_all(&mut self, why: &str) -> Vec<String> {
        let cancel = |(ticket, cancel): (String, Cancel)| {
            cancel.send_replace(Some(why.into()));
            ticket
        };
        self.running.drain().map(cancel).collect()
    }
}

/// Serve with a registration, and with new ones when its lease is lost, until the worker is stopped.
pub(crate) async fn serve(worker: &Worker, session: Session) {
    let state = watch::Sender::new(State { slots: worker.registration.slots, ..State::default() });
    let mut serving = Serving { worker, session: Arc::new(session), state };
    loop {
        tokio::select! {
            () = serving.hold_lease() => {}
            () = serving.drain() => return serving.retire().await,
        }
        if !serving.register_again().await {
            return;
        }
    }
}

/// A worker with its registration. One loop per route sends the requests that the state asks for.
struct Serving<'a> {
    worker: &'a Worker,
    session: Arc<Session>,
    state: watch::Sender<State>,
}

impl Serving<'_> {
    /// Renew, claim, settle and resume until the lease is lost.
    async fn hold_lease(&self) {
        let session = &self.session;
        let limits @ Registered { renew_s, wait_s, .. } = &session.registered;
        let post = |route: &str, body: Value| session.post(route).json(&body);
        let within = |wait_s: &f64| Duration::from_secs_f64(wait_s + 10.0);
        tokio::select! {
            () = self.repeat("renew", |state| {
                let body = json!({"held": state.held(), "wait_s": renew_s});
                Some(post("renew", body).timeout(within(renew_s)))
            }) => {}
            () = self.repeat("claim", |state| {
                let body = json!({"max": state.next_claim()?, "wait_s": wait_s});
                Some(post("claim", body).timeout(within(wait_s)))
            }) => {}
            () = self.repeat("settle", |state| {
                let (outcomes, max) = state.next_settlement(limits)?;
                Some(session.settlement(outcomes, max))
            }) => {}
            () = self.repeat("resume", |state| {
                state.may_resume().then(|| post("resume", json!({"held": state.held()})))
            }) => {}
        }
    }

    /// Send requests of a route, one by one, whenever one is due, until the lease is lost.
    async fn repeat(&self, route: &str, due: impl Fn(&mut State) -> Option<RequestBuilder>) {
        let mut failures = 0;
        loop {
            let request = self.when(&due).await;
            let answer = tokio::select! {
                answer = self.session.api.send(request, 0) => answer,
                () = self.when(State::gives_up_claim), if route == "claim" => {
                    Err(ApiError::new("given_up", "the claim was given up"))
                }
            };
            match answer {
                Ok(answer) => {
                    failures = 0;
                    self.accept(route, answer);
                }
                Err(error) if error.is_lease_lost() => return,
                Err(error) => {
                    self.state.send_modify(|state| state.fail(route, &error));
                    let pause = error.pause(failures);
                    if pause.is_none() {
                        eprintln!("tasker: the server refused to {route}: {error}");
                    }
                    failures += 1;
                    sleep(pause.unwrap_or(LATER)).await;
                }
            }
        }
    }

    /// Wait until a function that changes the state returns something.
    async fn when<T>(&self, change: impl Fn(&mut State) -> Option<T>) -> T {
        let mut changes = self.state.subscribe();
        loop {
            let mut changed = None;
            self.state.send_if_modified(|state| {
                changed = change(state);
                changed.is_some()
            });
            if let Some(changed) = changed {
                return changed;
            }
            let _ = changes.changed().await;
        }
    }

    fn accept(&self, route: &str, mut answer: Claimed) {
        for problem in answer.problems.values() {
            eprintln!("tasker: the server replaced an outcome: {problem}");
        }
        self.state.send_modify(|state| {
            match route {
                "claim" => state.claiming = 0,
                "settle" => {
                    state.settling = 0;
                    state.unanswered.clear();
                }
                "resume" => state.lost_answers = false,
                _ => {}
            }
            state.quiet = answer.quiet;
            for ticket in &answer.cancelled {
                if let Some(cancel) = state.running.remove(ticket) {
                    cancel.send_replace(Some("its task was cancelled".into()));
                }
            }
            let held = state.held();
            answer.steps.retain(|step| !held.contains(step.ticket.as_str()));
            for step in answer.steps {
                self.start(state, step);
            }
        });
    }

    fn start(&self, state: &mut State, step: ClaimedStep) {
        let handler = find(&self.worker.registration, &step).map(|handler| Arc::clone(&handler.call));
        let ticket = step.ticket.clone();
        let context = Context::new(step, Services::Server(Arc::clone(&self.session)));
        state.running.insert(ticket, context.0.cancel.clone());
        state.occupied += 1;
        tokio::spawn(attempt::run(context, handler, Arc::clone(&self.session), self.state.clone()));
    }

    /// Stop what runs, and register again; return false if the worker was stopped.
    async fn register_again(&mut self) -> bool {
        eprintln!("tasker: the worker lost its lease");
        let mut former = State::default();
        self.state.send_modify(|state| {
            state.cancel_all("the worker lost its lease");
            let fresh = State { slots: state.slots, occupied: state.occupied, ..State::default() };
            former = std::mem::replace(state, fresh);
        });
        former.unanswered.append(&mut former.ended);
        let last_settlement = tokio::spawn(Arc::clone(&self.session).settle_last(former.unanswered));
        let (worker, api) = (self.worker, self.session.api.clone());
        let register = async {
            loop {
                match worker.register(&api).await {
                    Ok(session) => return session,
                    Err(error) => {
                        eprintln!("tasker: the server refuses to register the worker again: {error}")
                    }
                }
                sleep(LATER).await;
            }
        };
        tokio::select! {
            session = register => self.session = Arc::new(session),
            () = worker.stopped() => {
                let _ = last_settlement.await;
                return false;
            }
        }
        true
    }

    /// When the worker is stopped, wait for its handlers for the grace time, then hand back what runs.
    async fn drain(&self) {
        self.worker.stopped().await;
        self.state.send_modify(|state| state.draining = true);
        let idle = || self.when(|state| state.held().is_empty().then_some(()));
        if timeout(self.worker.grace, idle()).await.is_err() {
            self.state.send_modify(|state| {
                let released = state.cancel_all("the worker shuts down").into_iter();
                state.ended.extend(released.map(|ticket| Ended::new(&ticket, &Outcome::Released)));
            });
            let _ = timeout(self.worker.grace.max(LAST), idle()).await;
        }
    }

    async fn retire(&self) {
        let path = format!("/v1/workers/{}", self.session.registered.worker);
        let request = self.session.api.request(Method::DELETE, &path).timeout(LAST);
        if let Err(error) = self.session.api.send::<Value>(request, 2).await {
            eprintln!("tasker: the worker could not retire: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Registered {
        let fields =
            json!({"worker": "1", "renew_s": 10, "wait_s": 25, "max_outcomes": 3, "body_bytes": 5_000});
        serde_json::from_value(fields).unwrap()
    }

    /// Return the state of a worker with four slots and outcomes that are not reported yet.
    fn state(tickets: &[&str]) -> State {
        let ended = tickets.iter().map(|ticket| Ended::new(ticket, &Outcome::Released));
        State { slots: 4, ended: ended.collect(), ..State::default() }
    }

    fn tickets(ended: &[Ended]) -> Vec<&str> {
        ended.iter().map(|each| each.ticket.as_str()).collect()
    }

    fn error(status: u16) -> ApiError {
        let mut error = ApiError::new("code", "no");
        error.status = Some(status);
        error
    }

    #[test]
    fn slots_are_reserved_for_the_steps_in_answers() {
        let mut state = state(&["a", "b"]);
        state.occupied = 1;

        assert_eq!(state.next_claim(), Some(1));
        let (outcomes, max) = state.next_settlement(&limits()).unwrap();
        assert_eq!((tickets(outcomes), max), (vec!["a", "b"], 2));
        assert_eq!(state.room(), 0);

        state.fail("claim", &error(429));
        assert_eq!(state.next_claim(), Some(1));
        state.fail("settle", &error(429));
        assert_eq!(state.room(), 0); // the server still counts the two steps
        let (outcomes, max) = state.next_settlement(&limits()).unwrap();
        assert_eq!((tickets(outcomes), max), (vec!["a", "b"], 0));
    }

    #[test]
    fn a_settlement_has_as_many_outcomes_as_the_server_allows() {
        let mut state = state(&["a", "b", "c", "d"]);
        let large = Outcome::Complete { result: "x".repeat(4_900).into() };
        state.ended[1] = Ended::new("b", &large);

        let mut batch = || {
            let (outcomes, _) = state.next_settlement(&limits()).unwrap();
            let tickets = tickets(outcomes).join(" ");
            state.unanswered.clear();
            tickets
        };
        assert_eq!([batch(), batch(), batch()], ["a", "b", "c d"]);
    }

    #[test]
    fn a_rejected_settlement_is_halved_until_one_outcome_is_left() {
        let mut state = state(&["a", "b", "c"]);
        state.next_settlement(&limits());

        state.fail("settle", &error(413));
        assert_eq!((tickets(&state.unanswered), tickets(&state.ended)), (vec!["a"], vec!["b", "c"]));
        state.fail("settle", &error(413));
        assert_eq!((tickets(&state.unanswered), tickets(&state.ended)), (vec![], vec!["a", "b", "c"]));
        assert!(state.ended[0].text.contains("the server rejected the outcome: no"));
        state.unanswered = state.ended.drain(..1).collect();
        state.fail("settle", &error(413));
        assert_eq!(tickets(&state.ended), ["b", "c"]); // the failure is not repeated
    }

    #[test]
    fn nothing_is_claimed_or_settled_until_lost_answers_are_resumed() {
        let mut state = state(&["a"]);
        state.next_claim();
        state.fail("claim", &error(502));

        assert!(state.may_resume());
        assert_eq!(state.next_claim(), None);
        assert!(state.next_settlement(&limits()).is_none());

        state.draining = true; // a worker that retires hands them back
        assert!(!state.may_resume());
        assert!(state.next_settlement(&limits()).is_some());
    }
}
