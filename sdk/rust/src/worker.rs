use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use serde_json::{json, Value};
use tokio::sync::watch;

use crate::api::{Api, ApiError, LATER};
use crate::handler::{Handler, HandlerOptions, IntoHandler};
use crate::protocol::{Registered, PROTOCOL};
use crate::session::{serve, Session};

/// Runs handlers for a server, until it is stopped.
#[must_use]
pub struct Worker {
    url: String,
    api_key: Option<String>,
    pub(crate) handlers: Vec<Handler>,
    pub(crate) slots: usize,
    pub(crate) grace: Duration,
    /// What the server is told, except for the handlers.
    registration: Value,
    handle_signals: bool,
    stop: watch::Sender<bool>,
}

/// Stops a worker that runs.
#[derive(Clone)]
pub struct StopHandle(watch::Sender<bool>);

impl StopHandle {
    /// Claim no more steps, wait for running handlers, hand back the others, and retire.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Worker {
    /// Create a worker of a server, with the API key in `TASKER_API_KEY` and the namespaces in
    /// `TASKER_NAMESPACE`, separated by commas, if these are set.
    pub fn new(url: impl Into<String>) -> Self {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_else(|_| "worker".into());
        let namespaces = std::env::var("TASKER_NAMESPACE").unwrap_or_default();
        let worker = Self {
            url: url.into(),
            api_key: std::env::var("TASKER_API_KEY").ok(),
            handlers: vec![],
            slots: 10,
            grace: Duration::from_secs(30),
            registration: json!({"protocol": PROTOCOL, "sdk": concat!("rust/", env!("CARGO_PKG_VERSION"))}),
            handle_signals: true,
            stop: watch::Sender::new(false),
        };
        worker
            .name(format!("{}:{}", host.trim(), std::process::id()))
            .namespaces(namespaces.split(',').filter(|name| !name.is_empty()))
    }

    /// Create a worker of the server in `TASKER_URL`, by default `http://localhost:8080`.
    pub fn from_env() -> Self {
        Self::new(std::env::var("TASKER_URL").unwrap_or_else(|_| "http://localhost:8080".into()))
    }

    /// Add a handler under the name that templates use. Several handlers may share a name if they
    /// differ in their `versions` or `namespaces`.
    pub fn handler<Form>(self, name: impl Into<String>, handler: impl IntoHandler<Form>) -> Self {
        self.handler_with(name, handler, HandlerOptions::default())
    }

    /// Add a handler with options.
    pub fn handler_with<Form>(
        mut self,
        name: impl Into<String>,
        handler: impl IntoHandler<Form>,
        options: HandlerOptions,
    ) -> Self {
        self.handlers.push(Handler { name: name.into(), options, call: handler.into_call() });
        self
    }

    /// Set the API key.
    pub fn api_key(mut self, key: impl Into<String>) -> Self {
        self.api_key = Some(key.into());
        self
    }

    /// Set the namespaces whose templates may call the handlers; `*`: all that the key may serve.
    pub fn namespaces<S: Into<String>>(self, namespaces: impl IntoIterator<Item = S>) -> Self {
        let namespaces: Vec<String> = namespaces.into_iter().map(Into::into).collect();
        self.tell("namespaces", json!(namespaces))
    }

    /// Set how many attempts run at once; default: 10.
    pub fn slots(mut self, slots: usize) -> Self {
        self.slots = slots;
        self
    }

    /// Set the name for operators; default: host and process id.
    pub fn name(self, name: impl Into<String>) -> Self {
        self.tell("name", json!(name.into()))
    }

    /// Add a label, which steps may require.
    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.registration["labels"][name] = json!(value);
        self
    }

    /// Set the version of your code, for operators.
    pub fn build(self, build: &str) -> Self {
        self.tell("build", json!(build))
    }

    /// Set the environment whose overrides in templates apply.
    pub fn environment(self, environment: &str) -> Self {
        self.tell("environment", json!(environment))
    }

    fn tell(mut self, field: &str, value: Value) -> Self {
        self.registration[field] = value;
        self
    }

    /// Set the time that running handlers get when the worker stops; default: 30 seconds.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Set whether SIGTERM and SIGINT stop the worker, the second one at once; default: true.
    pub fn handle_signals(mut self, handle: bool) -> Self {
        self.handle_signals = handle;
        self
    }

    /// Return what stops this worker from elsewhere.
    pub fn stop_handle(&self) -> StopHandle {
        StopHandle(self.stop.clone())
    }

    /// Register and run handlers until the worker is stopped.
    ///
    /// # Errors
    ///
    /// The server refuses the registration, or a handler has no namespace or is added twice.
    pub async fn run(mut self) -> Result<(), ApiError> {
        self.check()?;
        self.registration["slots"] = json!(self.slots);
        self.registration["handlers"] = json!(self.handlers);
        if self.handle_signals {
            tokio::spawn(watch_signals(self.stop_handle()));
        }
        let api = Api::new(&self.url, self.api_key.clone(), Some(Arc::default()));
        if let Some(session) = self.register(&api, false).await? {
            serve(&self, session).await;
        }
        Ok(())
    }

    fn check(&self) -> Result<(), ApiError> {
        let refuse = |message| Err(ApiError::new("invalid_request", message));
        if self.handlers.is_empty() {
            return refuse("a worker needs handlers".into());
        }
        let mut known = HashSet::new();
        if let Some(again) = self.handlers.iter().find(|handler| !known.insert(handler.identity())) {
            return refuse(format!(
                "handler {} is added twice with the same versions and namespaces: remove one of the two, or \
                 give each its own `versions` or `namespaces`",
                again.name
            ));
        }
        let mut handlers = self.handlers.iter();
        let unbound = handlers.find(|handler| handler.options.namespaces.is_empty());
        match unbound {
            Some(handler) if self.registration["namespaces"] == json!([]) => refuse(format!(
                "handler {} has no namespace: give the worker `namespaces`, set TASKER_NAMESPACE, or give \
                 the handler `namespaces`",
                handler.name
            )),
            _ => Ok(()),
        }
    }

    /// Register; None: the worker was stopped meanwhile. A refusal ends a worker only when it starts.
    pub(crate) async fn register(&self, api: &Api, again: bool) -> Result<Option<Session>, ApiError> {
        let path = "/v1/workers";
        loop {
            let request = api.request(Method::POST, path).json(&self.registration);
            let answer = tokio::select! {
                answer = api.send::<Registered>(request, u32::MAX) => answer,
                () = self.stopped() => return Ok(None),
            };
            match answer {
                Ok(registered) => return Ok(Some(Session::new(api.clone(), registered))),
                Err(error) if !again => return Err(error),
                Err(error) => eprintln!("tasker: the server refuses to register the worker again: {error}"),
            }
            tokio::select! {
                () = tokio::time::sleep(LATER) => {}
                () = self.stopped() => {}
            }
        }
    }

    pub(crate) async fn stopped(&self) {
        let _ = self.stop.subscribe().wait_for(|stop| *stop).await;
    }
}

#[cfg(unix)]
async fn watch_signals(stop: StopHandle) {
    use tokio::signal::unix::{signal, SignalKind};
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return;
    };
    for stopping in [false, true] {
        let code = tokio::select! {
            _ = terminate.recv() => 143,
            _ = interrupt.recv() => 130,
        };
        if stopping {
            std::process::exit(code);
        }
        stop.stop();
    }
}

#[cfg(not(unix))]
async fn watch_signals(stop: StopHandle) {
    if tokio::signal::ctrl_c().await.is_ok() {
        stop.stop();
    }
}
