use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Method, RequestBuilder};
use serde_json::{json, Value};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{sleep, sleep_until, Instant};

use crate::api::{Api, ApiError, LATER};
use crate::attempt;
use crate::context::{Cancel, Context, Services};
use crate::handler::find;
use crate::protocol::{Claimed, ClaimedStep, Failure, Outcome, Registered};
use crate::worker::Worker;

const LAST: Duration = Duration::from_secs(5); // for the last settlement, and for retiring

/// One registration of a worker.
pub(crate) struct Session {
    pub api: Api,
    registered: Registered,
}

impl Session {
    pub(crate) fn new(api: Api, registered: Registered) -> Self {
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

    pub(crate) fn takes_logs(&self) -> bool {
        self.registered.features.iter().any(|feature| feature == "logs")
    }

    pub(crate) fn post(&self, route: &str) -> RequestBuilder {
        let path = format!("/v1/workers/{}/{route}", self.registered.worker);
        self.api.request(Method::POST, &path)
    }

    fn settlement(&self, batch: &[Ended], max: usize) -> RequestBuilder {
        let outcomes: Vec<&str> = batch.iter().map(|ended| ended.text.as_str()).collect();
        let text = format!(r#"{{"outcomes":[{}],"max":{max}}}"#, outcomes.join(","));
        self.post("settle").header("content-type", "application/json").body(text)
    }
}

/// What the worker's loop waits for.
pub(crate) enum Event {
    Answered { worker: String, route: &'static str, answer: Result<Claimed, ApiError> },
    Ended { ticket: String, outcome: Option<Outcome>, frees_slot: bool },
}

/// An outcome that is to be reported.
struct Ended {
    ticket: String,
    text: String,
}

/// Return an outcome as it is sent.
fn text_of(ticket: &str, outcome: &Outcome) -> String {
    let mut body = json!(outcome);
    body["ticket"] = json!(ticket);
    body.to_string()
}

/// Let the step of a rejected outcome fail with the server's reason; that failure is not repeated.
fn failure_of_rejected(rejected: &Ended, reason: &ApiError) -> Option<Ended> {
    let error = Failure {
        kind: "Rejected".into(),
        code: Some("outcome_rejected".into()),
        message: format!("the server rejected the outcome: {reason}"),
        ..Failure::default()
    };
    let ticket = rejected.ticket.clone();
    let text = text_of(&ticket, &Outcome::Failed { error });
    (text != rejected.text).then_some(Ended { ticket, text })
}

/// A request that has no answer yet.
struct UnderWay {
    task: AbortHandle,
    /// How many steps its answer may bring.
    slots: usize,
}

/// Serve with a registration, and with new ones when its lease is lost, until the worker is stopped.
pub(crate) async fn serve(worker: &Worker, session: Session) {
    let (sender, mut events) = mpsc::unbounded_channel();
    let mut serving = Serving {
        worker,
        session: Arc::new(session),
        events: sender,
        running: HashMap::new(),
        occupied: 0,
        ended: vec![],
        unanswered: vec![],
        under_way: HashMap::new(),
        failures: HashMap::new(),
        lost_answers: None,
        draining: false,
        quiet: false,
    };
    let mut deadline = Instant::now();
    let mut releasing = false;
    while !(serving.draining && serving.is_idle()) {
        serving.send_what_is_due();
        tokio::select! {
            Some(event) = events.recv() => {
                if serving.handle(event) && !serving.register_again().await {
                    return;
                }
            }
            () = worker.stopped(), if !serving.draining => {
                serving.draining = true;
                serving.give_up_claim();
                deadline = Instant::now() + worker.grace;
            }
            () = sleep_until(deadline), if serving.draining => {
                if releasing {
                    break;
                }
                releasing = true;
                serving.release_all();
                deadline = Instant::now() + worker.grace.max(LAST);
            }
        }
    }
    serving.retire().await;
}

/// The state of a worker that serves. After each event, `send_what_is_due` sends the requests that it
/// asks for; their answers are events, too.
struct Serving<'a> {
    worker: &'a Worker,
    session: Arc<Session>,
    events: mpsc::UnboundedSender<Event>,
    running: HashMap<String, Cancel>,
    /// The number of handlers that run, with those whose attempts are over.
    occupied: usize,
    ended: Vec<Ended>,
    /// The outcomes of the settlement under way.
    unanswered: Vec<Ended>,
    under_way: HashMap<&'static str, UnderWay>,
    /// How often the last requests of a route have failed.
    failures: HashMap<&'static str, u32>,
    /// The number of steps that lost answers may have brought, until they are resumed.
    lost_answers: Option<usize>,
    draining: bool,
    quiet: bool,
}

impl Serving<'_> {
    fn is_idle(&self) -> bool {
        self.running.is_empty() && self.ended.is_empty() && self.unanswered.is_empty()
    }

    fn held(&self) -> Vec<&str> {
        let outcomes = self.unanswered.iter().chain(&self.ended);
        let tickets = outcomes.map(|ended| &ended.ticket).chain(self.running.keys());
        tickets.map(String::as_str).collect()
    }

    /// Return how many more steps the worker may ask for.
    fn room(&self) -> usize {
        if self.draining || self.quiet || self.lost_answers.is_some() {
            return 0;
        }
        let reserved = |(route, request): (&&'static str, &UnderWay)| match *route {
            "settle" => request.slots.max(self.unanswered.len()), // the server still counts them
            _ => request.slots,
        };
        let reserved: usize = self.under_way.iter().map(reserved).sum();
        let used = self.occupied + self.ended.len() + reserved;
        self.worker.slots.saturating_sub(used)
    }

    fn is_under_way(&self, route: &str) -> bool {
        self.under_way.contains_key(route)
    }

    fn send_what_is_due(&mut self) {
        let Registered { wait_s, renew_s, .. } = self.session.registered;
        if !self.is_under_way("renew") {
            let body = json!({"held": self.held(), "wait_s": renew_s});
            self.send("renew", 0, self.wait("renew", &body, renew_s));
        }
        if !self.is_under_way("settle") && !self.is_under_way("resume") {
            self.settle_or_resume();
        }
        let room = self.room();
        if room > 0 && !self.is_under_way("claim") {
            let body = json!({"max": room, "wait_s": wait_s});
            self.send("claim", room, self.wait("claim", &body, wait_s));
        }
    }

    fn settle_or_resume(&mut self) {
        let resumes = self.lost_answers.is_some() && !self.draining;
        if !self.unanswered.is_empty() {
            self.send("settle", 0, self.session.settlement(&self.unanswered, 0));
        } else if resumes && !self.is_under_way("claim") {
            let body = json!({"held": self.held()});
            self.send("resume", 0, self.session.post("resume").json(&body));
        } else if !resumes && !self.ended.is_empty() {
            self.unanswered = self.take_batch();
            let room = self.room();
            self.send("settle", room, self.session.settlement(&self.unanswered, room));
        }
    }

    fn wait(&self, route: &str, body: &Value, seconds: f64) -> RequestBuilder {
        let limit = Duration::from_secs_f64(seconds + 10.0);
        self.session.post(route).json(body).timeout(limit)
    }

    /// Send a request once; after a failure, its answer is told when it may be repeated.
    fn send(&mut self, route: &'static str, slots: usize, request: RequestBuilder) {
        let (session, events) = (Arc::clone(&self.session), self.events.clone());
        let failures = self.failures.get(route).copied().unwrap_or_default();
        let send = async move {
            let answer = session.api.send_once(request).await;
            if let Some(error) = answer.as_ref().err().filter(|error| !error.is_lease_lost()) {
                let pause = error.pause(failures);
                if pause.is_none() {
                    eprintln!("tasker: the server refused to {route}: {error}");
                }
                sleep(pause.unwrap_or(LATER)).await;
            }
            let worker = session.registered.worker.clone();
            let _ = events.send(Event::Answered { worker, route, answer });
        };
        let task = tokio::spawn(send).abort_handle();
        self.under_way.insert(route, UnderWay { task, slots });
    }

    /// Handle an event; return whether the lease is lost.
    fn handle(&mut self, event: Event) -> bool {
        match event {
            Event::Ended { ticket, outcome, frees_slot } => {
                self.occupied -= usize::from(frees_slot);
                let ran = self.running.remove(&ticket).is_some();
                if let Some(outcome) = outcome.filter(|_| ran) {
                    self.end(ticket, &outcome);
                }
            }
            Event::Answered { worker, .. } if worker != self.session.registered.worker => {}
            Event::Answered { route, answer, .. } => {
                let slots = self.under_way.remove(route).map_or(0, |request| request.slots);
                match answer {
                    Ok(answer) => self.accept(route, answer),
                    Err(error) if error.is_lease_lost() => return true,
                    Err(error) => self.fail(route, slots, &error),
                }
            }
        }
        false
    }

    fn accept(&mut self, route: &'static str, answer: Claimed) {
        self.failures.remove(route);
        match route {
            "settle" => self.unanswered.clear(),
            "resume" => self.lost_answers = None,
            _ => {}
        }
        for problem in answer.problems.values() {
            eprintln!("tasker: the server replaced an outcome: {problem}");
        }
        self.quiet = answer.quiet;
        for ticket in &answer.cancelled {
            if let Some(cancel) = self.running.remove(ticket) {
                cancel.send_replace(Some("its task was cancelled".into()));
            }
        }
        let known: HashSet<String> = self.held().into_iter().map(str::to_owned).collect();
        for step in answer.steps {
            if !known.contains(&step.ticket) {
                self.start(step);
            }
        }
    }

    fn fail(&mut self, route: &'static str, slots: usize, error: &ApiError) {
        *self.failures.entry(route).or_default() += 1;
        if error.is_lost() && matches!(route, "claim" | "settle") {
            *self.lost_answers.get_or_insert(0) += slots;
            self.give_up_claim();
        }
        if route == "settle" && matches!(error.status, Some(400 | 413 | 415 | 422)) {
            let mut rest = self.unanswered.split_off(self.unanswered.len() / 2);
            if self.unanswered.is_empty() {
                rest = rest.iter().filter_map(|only| failure_of_rejected(only, error)).collect();
            }
            self.ended.splice(..0, rest);
        }
    }

    fn give_up_claim(&mut self) {
        if let Some(UnderWay { task, slots }) = self.under_way.remove("claim") {
            task.abort();
            *self.lost_answers.get_or_insert(0) += slots;
        }
    }

    fn start(&mut self, step: ClaimedStep) {
        let handler = find(&self.worker.handlers, &step);
        let handler = handler.map(|handler| Arc::clone(&handler.call));
        let cancel = Cancel::new(None);
        self.running.insert(step.ticket.clone(), cancel.clone());
        self.occupied += 1;
        let services = Services::Server(Arc::clone(&self.session));
        let (context, gone) = Context::new(step, cancel, services);
        tokio::spawn(attempt::run(context, handler, gone, self.events.clone()));
    }

    fn end(&mut self, ticket: String, outcome: &Outcome) {
        if matches!(outcome, Outcome::Cancelled(_)) {
            return;
        }
        let mut text = text_of(&ticket, outcome);
        if text.len() > self.session.registered.body_bytes - 1_000 {
            let error = Failure {
                kind: "TooLarge".into(),
                code: Some("too_large".into()),
                message: "the result is too large".into(),
                ..Failure::default()
            };
            text = text_of(&ticket, &Outcome::Failed { error });
        }
        self.ended.push(Ended { ticket, text });
    }

    fn take_batch(&mut self) -> Vec<Ended> {
        let limits = &self.session.registered;
        let mut bytes = 100;
        let fits = self.ended.iter().take(limits.max_outcomes).take_while(|ended| {
            bytes += ended.text.len() + 1;
            bytes <= limits.body_bytes
        });
        let count = fits.count().max(1);
        self.ended.drain(..count).collect()
    }

    /// Stop what runs, and register again; return false if the worker was stopped.
    async fn register_again(&mut self) -> bool {
        eprintln!("tasker: the worker lost its lease");
        let former = Arc::clone(&self.session);
        let mut last = std::mem::take(&mut self.unanswered);
        last.append(&mut self.ended);
        for (_, cancel) in self.running.drain() {
            cancel.send_replace(Some("the worker lost its lease".into()));
        }
        for (_, request) in self.under_way.drain() {
            request.task.abort();
        }
        self.failures.clear();
        self.lost_answers = None;
        let send_last = tokio::spawn(async move {
            // the server accepts the outcomes of attempts that nobody has taken over
            if last.is_empty() {
                return;
            }
            let request = former.settlement(&last, 0);
            if let Err(error) = former.api.send::<Value>(request, 5).await {
                eprintln!("tasker: outcomes of the lost lease were refused: {error}");
            }
        });
        match self.worker.register(&self.session.api, true).await {
            Ok(Some(session)) => self.session = Arc::new(session),
            _ => {
                let _ = send_last.await;
                return false;
            }
        }
        true
    }

    /// Hand back what still runs.
    fn release_all(&mut self) {
        for (ticket, cancel) in std::mem::take(&mut self.running) {
            cancel.send_replace(Some("the worker shuts down".into()));
            self.end(ticket, &Outcome::Released);
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
