use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::outage::Outage;

const FIRST_PAUSE: f64 = 0.1;
const LONGEST_PAUSE: f64 = 5.0;

/// A request that failed.
#[derive(Debug, Clone)]
pub struct ApiError {
    /// The HTTP status; None: there was no answer, or none that is JSON.
    pub status: Option<u16>,
    /// The problem's code, such as `not_found`; `unreachable` without an answer.
    pub code: String,
    /// What is wrong, for people.
    pub message: String,
    retry_after: Option<f64>,
}

impl ApiError {
    pub(crate) fn new(code: &str, message: impl Into<String>) -> Self {
        Self {
            status: None,
            code: code.into(),
            message: message.into(),
            retry_after: None,
        }
    }

    /// Return whether the server may have done what was asked, though no answer says so.
    pub(crate) fn is_lost(&self) -> bool {
        matches!(self.status, None | Some(502..=504))
    }

    pub(crate) fn is_lease_lost(&self) -> bool {
        self.code == "lease_lost" || self.code == "unknown_worker"
    }

    /// Return how long to wait before the request may be repeated; None: it may not.
    pub(crate) fn pause(&self, tried: u32) -> Option<Duration> {
        if self.status != Some(429) && !self.is_lost() {
            return None;
        }
        let seconds = self.retry_after.unwrap_or_else(|| {
            let longest = (FIRST_PAUSE * 2f64.powi(tried.min(10) as i32)).min(LONGEST_PAUSE);
            longest * (0.5 + jitter() / 2.0)
        });
        Some(Duration::from_secs_f64(seconds.clamp(0.0, 60.0)))
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for ApiError {}

/// Sends requests to a server as JSON, and repeats them while it is unreachable or overloaded.
#[derive(Clone)]
pub(crate) struct Api {
    url: String,
    key: Option<String>,
    http: reqwest::Client,
    /// Of a worker, which says so when the server is unavailable.
    outage: Option<Arc<Outage>>,
}

/// One request.
#[derive(Clone)]
pub(crate) struct Call {
    pub method: reqwest::Method,
    pub path: String,
    pub text: Option<String>,
    pub ticket: Option<String>,
    pub within: Duration,
    pub retries: u32,
}

impl Call {
    pub(crate) fn new(method: reqwest::Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            text: None,
            ticket: None,
            within: Duration::from_secs(30),
            retries: 5,
        }
    }

    pub(crate) fn post(path: impl Into<String>, body: &Value) -> Self {
        let mut call = Self::new(reqwest::Method::POST, path);
        call.text = Some(body.to_string());
        call
    }

    pub(crate) fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    pub(crate) fn within(mut self, seconds: f64) -> Self {
        self.within = Duration::from_secs_f64(seconds);
        self
    }
}

impl Api {
    /// Connect to a server.
    ///
    /// # Panics
    ///
    /// The machine's TLS configuration cannot be read.
    pub(crate) fn new(url: &str, key: Option<String>) -> Self {
        Self {
            url: url.trim_end_matches('/').to_owned(),
            key,
            http: reqwest::Client::new(),
            outage: None,
        }
    }

    /// Say on stderr when the server is unavailable, and when it is back.
    pub(crate) fn reporting_outages(self) -> Self {
        Self {
            outage: Some(Arc::default()),
            ..self
        }
    }

    pub(crate) async fn send<T: DeserializeOwned>(&self, call: Call) -> Result<T, ApiError> {
        let mut tried = 0;
        loop {
            let answer = self.send_once(&call).await;
            self.report(answer.as_ref().err().filter(|error| error.pause(tried).is_some()));
            match answer {
                Err(error) if tried < call.retries => match error.pause(tried) {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => return Err(error),
                },
                answer => return answer,
            }
            tried += 1;
        }
    }

    /// Report a failed request that is tried again, or an answer.
    fn report(&self, failure: Option<&ApiError>) {
        let (Some(outage), url) = (&self.outage, &self.url) else {
            return;
        };
        match failure {
            Some(error) if outage.note(Instant::now()) => {
                eprintln!("tasker: the server {url} is unavailable, the worker tries again: {error}");
            }
            Some(_) => {}
            None => {
                if let Some(time) = outage.end(Instant::now()) {
                    let seconds = time.as_secs();
                    eprintln!("tasker: the server {url} is available again after {seconds} s");
                }
            }
        }
    }

    async fn send_once<T: DeserializeOwned>(&self, call: &Call) -> Result<T, ApiError> {
        let url = format!("{}{}", self.url, call.path);
        let mut request = self.http.request(call.method.clone(), &url).timeout(call.within);
        if let Some(key) = &self.key {
            request = request.header("x-api-key", key);
        }
        if let Some(ticket) = &call.ticket {
            request = request.header("tasker-ticket", ticket);
        }
        if let Some(text) = &call.text {
            request = request
                .header("content-type", "application/json")
                .body(text.clone());
        }
        let unreachable = |error: reqwest::Error| {
            ApiError::new(
                "unreachable",
                format!("{} cannot be reached: {}", self.url, cause(&error)),
            )
        };
        let answer = request.send().await.map_err(unreachable)?;
        let status = answer.status();
        let header = answer
            .headers()
            .get("retry-after")
            .and_then(|value| value.to_str().ok());
        let retry_after = header.and_then(|text| text.parse().ok());
        let body = answer.bytes().await.map_err(unreachable)?;
        if status.is_success() {
            let text: &[u8] = if status == 204 { b"null" } else { &body };
            return serde_json::from_slice(text).map_err(|error| ApiError {
                status: error.is_data().then_some(status.as_u16()), // else the body was cut or is no JSON
                ..ApiError::new(
                    "unexpected_answer",
                    format!("{url} answered {status}, but: {error}"),
                )
            });
        }
        let problem: Value = serde_json::from_slice(&body).unwrap_or_default();
        let text = |field: &str| problem[field].as_str().map(str::to_owned);
        Err(ApiError {
            status: Some(status.as_u16()),
            code: text("code").unwrap_or_else(|| format!("http_{}", status.as_u16())),
            message: text("detail")
                .or_else(|| text("title"))
                .unwrap_or_else(|| format!("{url} answered {status}")),
            retry_after,
        })
    }
}

/// Return the innermost cause of an error, which says what has happened.
fn cause(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), cause)
}

/// Return a number from 0 to 1 that differs between processes and calls.
fn jitter() -> f64 {
    use std::hash::{BuildHasher, RandomState};
    let hash = RandomState::new().hash_one(std::process::id());
    (hash % 1_000) as f64 / 1_000.0
}
