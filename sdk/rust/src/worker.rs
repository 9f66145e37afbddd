use std::sync::Arc;
use std::time::Duration;

use serde_json::{json, Map, Value};
use tokio::sync::{watch, Semaphore};

use crate::api::{Api, ApiError, Call};
use crate::handler::{HandlerOptions, IntoHandler};
use crate::protocol::{Registered, PROTOCOL};
use crate::session::{Handler, Over, Session};

/// Runs handlers for a server, until it is stopped.
pub struct Worker {
    url: String,
    api_key: Option<String>,
    handlers: Vec<Handler>,
    namespaces: Vec<String>,
    slots: usize,
    name: String,
    fields: Map<String, Value>,
    grace: Duration,
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
        let namespaces = std::env::var("TASKER_NAMESPACE").unwrap_or_default();
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_else(|_| "worker".into());
        Self {
            url: url.into(),
            api_key: std::env::var("TASKER_API_KEY").ok(),
            handlers: vec![],
            namespaces: namespaces
                .split(',')
                .filter(|name| !name.is_empty())
                .map(Into::into)
                .collect(),
            slots: 10,
            name: format!("{}:{}", host.trim(), std::process::id()),
            fields: Map::new(),
            grace: Duration::from_secs(30),
            handle_signals: true,
            stop: watch::Sender::new(false),
        }
    }

    /// Create a worker of the server in `TASKER_URL`, by default `http://localhost:8080`.
    pub fn from_env() -> Self {
        Self::new(std::env::var("TASKER_URL").unwrap_or_else(|_| "http://localhost:8080".into()))
    }

    /// Add a handler under the name that templates use.
    #[must_use]
    pub fn handler<Form>(self, name: impl Into<String>, handler: impl IntoHandler<Form>) -> Self {
        self.handler_with(name, handler, HandlerOptions::default())
    }

    /// Add a handler with options.
    #[must_use]
    pub fn handler_with<Form>(
        mut self,
        name: impl Into<String>,
        handler: impl IntoHandler<Form>,
        options: HandlerOptions,
    ) -> Self {
        self.handlers.push(Handler {
            name: name.into(),
            options,
            call: handler.into_call(),
        });
        self
    }

    /// Set the API key.
    #[must_use]
    pub fn api_key(mut self, key: impl Into<String>) -> Self {
        self.api_key = Some(key.into());
        self
    }

    /// Set the namespaces whose templates may call the handlers; `*`: all that the key may serve.
    #[must_use]
    pub fn namespaces<S: Into<String>>(mut self, namespaces: impl IntoIterator<Item = S>) -> Self {
        self.namespaces = namespaces.into_iter().map(Into::into).collect();
        self
    }

    /// Set how many attempts run at once; default: 10.
    #[must_use]
    pub fn slots(mut self, slots: usize) -> Self {
        self.slots = slots;
        self
    }

    /// Set the name for operators; default: host and process id.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Add a label, which steps may require.
    #[must_use]
    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.fields.entry("labels").or_insert_with(|| json!({}))[name] = json!(value);
        self
    }

    /// Set the version of your code, for operators.
    #[must_use]
    pub fn build(mut self, build: &str) -> Self {
        self.fields.insert("build".into(), json!(build));
        self
    }

    /// Set the environment whose overrides in templates apply.
    #[must_use]
    pub fn environment(mut self, environment: &str) -> Self {
        self.fields.insert("environment".into(), json!(environment));
        self
    }

    /// Set the time that running handlers get when the worker stops; default: 30 seconds.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Set whether SIGTERM and SIGINT stop the worker, the second one at once; default: true.
    #[must_use]
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
    /// The server refuses the registration, or a handler has no namespace.
    pub async fn run(self) -> Result<(), ApiError> {
        self.check()?;
        if self.handle_signals {
            tokio::spawn(watch_signals(self.stop_handle()));
        }
        let api = Api::new(&self.url, self.api_key.clone()).reporting_outages();
        let registration = self.registration();
        let handlers = Arc::new(self.handlers);
        let slots = Arc::new(Semaphore::new(self.slots));
        let mut again = false;
        loop {
            let register = register(&api, &registration, again);
            let registered = tokio::select! {
                registered = register => registered?,
                () = stopped(&self.stop) => return Ok(()),
            };
            let session = Session::new(api.clone(), registered, Arc::clone(&handlers), Arc::clone(&slots));
            let drain = async {
                stopped(&self.stop).await;
                session.drain(self.grace).await;
            };
            tokio::select! {
                Over::LeaseLost = session.run() => {}
                () = drain => return Ok(()),
            }
            again = true;
        }
    }

    fn check(&self) -> Result<(), ApiError> {
        if self.handlers.is_empty() {
            return Err(ApiError::new("invalid_request", "a worker needs handlers"));
        }
        let unbound = self
            .handlers
            .iter()
            .find(|handler| handler.options.namespaces.is_empty());
        match unbound {
            Some(handler) if self.namespaces.is_empty() => Err(ApiError::new(
                "invalid_request",
                format!(
                    "handler {} has no namespace: give the worker `namespaces`, set TASKER_NAMESPACE, or \
                     give the handler `namespaces`",
                    handler.name
                ),
            )),
            _ => Ok(()),
        }
    }

    fn registration(&self) -> Value {
        let handlers: Vec<Value> = self
            .handlers
            .iter()
            .map(|Handler { name, options, .. }| {
                let mut body =
                    json!({"name": name, "needs": options.needs.body(), "versions": options.versions});
                if !options.namespaces.is_empty() {
                    body["namespaces"] = json!(options.namespaces);
                }
                body
            })
            .collect();
        let mut body = json!({
            "protocol": PROTOCOL,
            "name": self.name,
            "slots": self.slots,
            "sdk": concat!("rust/", env!("CARGO_PKG_VERSION")),
            "namespaces": self.namespaces,
            "handlers": handlers,
        });
        for (name, value) in &self.fields {
            body[name] = value.clone();
        }
        body
    }
}

async fn register(api: &Api, body: &Value, again: bool) -> Result<Registered, ApiError> {
    loop {
        let call = Call::post("/v1/workers", body).retries(u32::MAX);
        match api.send::<Registered>(call).await {
            Ok(registered) => {
                for (names, what) in [
                    (&registered.unserved, "no template asks for these handlers yet"),
                    (&registered.refused, "the API key may not serve these handlers"),
                ] {
                    if !names.is_empty() {
                        eprintln!("tasker: {what}: {}", names.join(", "));
                    }
                }
                return Ok(registered);
            }
            Err(error) if !again => return Err(error),
            Err(error) => {
                eprintln!("tasker: the server refuses to register the worker again: {error}");
                tokio::time::sleep(Duration::from_secs(5)).await;
            }
        }
    }
}

async fn stopped(stop: &watch::Sender<bool>) {
    let _ = stop.subscribe().wait_for(|stop| *stop).await;
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
