use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use tokio::sync::watch;

use crate::api::{Api, ApiError};
use crate::handler::{Handler, HandlerOptions, IntoHandler};
use crate::protocol::{Registration, PROTOCOL};
use crate::session::{serve, Session};

/// Runs handlers for a server, until it is stopped.
#[must_use]
pub struct Worker {
    url: String,
    api_key: Option<String>,
    pub(crate) registration: Registration,
    pub(crate) grace: Duration,
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
        let registration = Registration {
            protocol: PROTOCOL,
            sdk: concat!("rust/", env!("CARGO_PKG_VERSION")),
            name: format!("{}:{}", host.trim(), std::process::id()),
            slots: 10,
            ..Registration::default()
        };
        let worker = Self {
            url: url.into(),
            api_key: std::env::var("TASKER_API_KEY").ok(),
            registration,
            grace: Duration::from_secs(30),
            handle_signals: true,
            stop: watch::Sender::new(false),
        };
        worker.namespaces(namespaces.split(',').filter(|name| !name.is_empty()))
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
        self.registration.handlers.push(Handler { name: name.into(), options, call: handler.into_call() });
        self
    }

    /// Set the API key.
    pub fn api_key(mut self, key: impl Into<String>) -> Self {
        self.api_key = Some(key.into());
        self
    }

    /// Set the namespaces whose templates may call the handlers; `*`: all that the key may serve.
    pub fn namespaces<S: Into<String>>(mut self, namespaces: impl IntoIterator<Item = S>) -> Self {
        self.registration.namespaces = namespaces.into_iter().map(Into::into).collect();
        self
    }

    /// Set how many attempts run at once; default: 10.
    pub fn slots(mut self, slots: usize) -> Self {
        self.registration.slots = slots;
        self
    }

    /// Set the name for operators; default: host and process id.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.registration.name = name.into();
        self
    }

    /// Add a label, which steps may require.
    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.registration.labels.insert(name.into(), value.into());
        self
    }

    /// Set the version of your code, for operators.
    pub fn build(mut self, build: &str) -> Self {
        self.registration.build = build.into();
        self
    }

    /// Set the environment whose overrides in templates apply.
    pub fn environment(mut self, environment: &str) -> Self {
        self.registration.environment = Some(environment.into());
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
    pub async fn run(self) -> Result<(), ApiError> {
        self.check()?;
        if self.handle_signals {
            tokio::spawn(watch_signals(self.stop_handle()));
        }
        let api = Api::new(&self.url, self.api_key.clone(), Some(Arc::default()));
        tokio::select! {
            session = self.register(&api) => serve(&self, session?).await,
            () = self.stopped() => {}
        }
        Ok(())
    }

    fn check(&self) -> Result<(), ApiError> {
        let mut known = HashSet::new();
        let Registration { handlers, namespaces, .. } = &self.registration;
        let again = handlers.iter().find(|handler| !known.insert(handler.identity()));
        let unbound = handlers.iter().find(|handler| handler.options.namespaces.is_empty());
        let problem = match (again, unbound) {
            _ if handlers.is_empty() => "a worker needs handlers".into(),
            (Some(Handler { name, .. }), _) => format!(
                "handler {name} is added twice with the same versions and namespaces: remove one of the two, \
                 or give each its own `versions` or `namespaces`"
            ),
            (_, Some(Handler { name, .. })) if namespaces.is_empty() => format!(
                "handler {name} has no namespace: give the worker `namespaces`, set TASKER_NAMESPACE, or give \
                 the handler `namespaces`"
            ),
            _ => return Ok(()),
        };
        Err(ApiError::new("invalid_request", problem))
    }

    pub(crate) async fn register(&self, api: &Api) -> Result<Session, ApiError> {
        let request = api.request(Method::POST, "/v1/workers").json(&self.registration);
        Ok(Session::new(api.clone(), api.send(request, u32::MAX).await?))
    }

    pub(crate) async fn stopped(&self) {
        let _ = self.stop.subscribe().wait_for(|stop| *stop).await;
    }
}

/// Stop a worker at the first signal, and the process at the second.
async fn watch_signals(stop: StopHandle) {
    next_signal().await;
    stop.stop();
    std::process::exit(next_signal().await);
}

/// Wait for a signal to stop, and return the exit code that says so.
async fn next_signal() -> i32 {
    #[cfg(unix)]
    let terminated = async {
        use tokio::signal::unix::{signal, SignalKind};
        signal(SignalKind::terminate()).expect("SIGTERM can be handled").recv().await
    };
    #[cfg(not(unix))]
    let terminated = std::future::pending::<()>();
    tokio::select! {
        _ = terminated => 143,
        _ = tokio::signal::ctrl_c() => 130,
    }
}
