use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::{Method, RequestBuilder};
use serde::de::DeserializeOwned;
use serde::Deserialize;

use crate::outage::Outage;

const FIRST_PAUSE: f64 = 0.1;
const LONGEST_PAUSE: f64 = 5.0;
/// The pause after a refusal that an operator has to mend.
pub(crate) const LATER: Duration = Duration::from_secs(5);

/// A request that failed.
#[derive(Debug, Clone)]
pub struct ApiError {
    /// The HTTP status; None: there was no answer, or none that can be read.
    pub status: Option<u16>,
    /// The problem's code, such as `not_found`; `unreachable` without an answer.
    pub code: String,
    /// What is wrong, for people.
    pub message: String,
    retry_after: Option<f64>,
}

/// The body of an answer that is an error.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Problem {
    code: Option<String>,
    detail: Option<String>,
    title: Option<String>,
}

impl ApiError {
    pub(crate) fn new(code: &str, message: impl Into<String>) -> Self {
        Self { status: None, code: code.into(), message: message.into(), retry_after: None }
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
        if self.status != Some(429) && self.code != "claim_under_way" && !self.is_lost() {
            return None;
        }
        let seconds = self.retry_after.unwrap_or_else(|| {
            let longest = (FIRST_PAUSE * 2f64.powi(tried.min(10) as i32)).min(LONGEST_PAUSE);
            let random = RandomState::new().hash_one(tried) as f64 / u64::MAX as f64;
            longest * (0.5 + random / 2.0)
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

/// Sends requests to a server, and repeats them while it is unreachable or overloaded.
#[derive(Clone)]
pub(crate) struct Api {
    url: String,
    key: Option<String>,
    http: reqwest::Client,
    /// Of a worker, which says so when the server is unavailable.
    outage: Option<Arc<Outage>>,
}

impl Api {
    pub(crate) fn new(url: &str, key: Option<String>, outage: Option<Arc<Outage>>) -> Self {
        Self { url: url.trim_end_matches('/').to_owned(), key, http: reqwest::Client::new(), outage }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.url));
        let request = request.timeout(Duration::from_secs(30));
        match &self.key {
            Some(key) => request.header("x-api-key", key),
            None => request,
        }
    }

    /// Send a request until it is answered, at most `retries` times more.
    pub(crate) async fn send<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
        retries: u32,
    ) -> Result<T, ApiError> {
        let mut tried = 0;
        loop {
            let copy = request.try_clone().expect("a body of text can be sent again");
            let answer = self.exchange(copy).await;
            let failure = answer.as_ref().err();
            let pause = failure.and_then(|error| error.pause(tried));
            if let Some(outage) = &self.outage {
                let unavailable = failure.filter(|_| pause.is_some());
                if let Some(news) = outage.note(unavailable, Instant::now()) {
                    eprintln!("tasker: the server {} {news}", self.url);
                }
            }
            match pause {
                Some(pause) if tried < retries => tokio::time::sleep(pause).await,
                _ => return answer,
            }
            tried += 1;
        }
    }

    async fn exchange<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ApiError> {
        let url = &self.url;
        let unreachable = |error: reqwest::Error| {
            ApiError::new("unreachable", format!("{url} cannot be reached: {}", cause(&error)))
        };
        let answer = request.send().await.map_err(unreachable)?;
        let status = answer.status();
        let header = answer.headers().get("retry-after");
        let retry_after = header.and_then(|value| value.to_str().ok()?.parse().ok());
        let body = answer.bytes().await.map_err(unreachable)?;
        if status.is_success() {
            let json: &[u8] = if body.is_empty() { b"null" } else { &body };
            let unread = |error| format!("{url} answered {status}, but: {error}");
            return serde_json::from_slice(json)
                .map_err(|error| ApiError::new("unexpected_answer", unread(error)));
        }
        let Problem { code, detail, title } = serde_json::from_slice(&body).unwrap_or_default();
        Err(ApiError {
            status: Some(status.as_u16()),
            code: code.unwrap_or_else(|| format!("http_{}", status.as_u16())),
            message: detail.or(title).unwrap_or_else(|| format!("{url} answered {status}")),
            retry_after,
        })
    }
}

/// Return the innermost cause of an error, which says what has happened.
fn cause(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), cause)
}
