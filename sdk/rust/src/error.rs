use std::fmt;
use std::panic::Location;
use std::time::Duration;

use serde_json::{json, Value};

/// How a handler ends its attempt without a result.
///
/// Every type that implements `std::error::Error` converts into one that a retry may help, so `?`
/// works in handlers.
pub struct Error(pub(crate) Box<Kind>);

pub(crate) enum Kind {
    Failed(Failure),
    /// A durable call waits; the value is the protocol's `wait_for`.
    Parked(Value),
    /// The step goes back to its queue with this checkpoint.
    Yielded(Value),
    /// The attempt must stop; nothing is reported.
    Cancelled(String),
}

pub(crate) struct Failure {
    kind: String,
    message: String,
    code: Option<String>,
    details: Option<Value>,
    retryable: bool,
    retry_after: Option<Duration>,
    /// Where it was made, and what caused it.
    trace: String,
}

impl Error {
    /// Create an error that ends the step: another attempt cannot help.
    #[track_caller]
    pub fn permanent(message: impl Into<String>) -> Self {
        Self::failed("PermanentError", message.into(), false)
    }

    /// Create an error after which the template's retry policy decides about the next attempt.
    #[track_caller]
    pub fn retryable(message: impl Into<String>) -> Self {
        Self::failed("RetryableError", message.into(), true)
    }

    /// Set a code for programs, such as `GATEWAY_DOWN`.
    #[must_use]
    pub fn code(mut self, code: impl Into<String>) -> Self {
        if let Kind::Failed(failure) = &mut *self.0 {
            failure.code = Some(code.into());
        }
        self
    }

    /// Set JSON about the failure, shown with it.
    #[must_use]
    pub fn details(mut self, details: Value) -> Self {
        if let Kind::Failed(failure) = &mut *self.0 {
            failure.details = Some(details);
        }
        self
    }

    /// Set the time until the next attempt, instead of the policy's.
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        if let Kind::Failed(failure) = &mut *self.0 {
            failure.retry_after = Some(delay);
        }
        self
    }

    #[track_caller]
    pub(crate) fn failed(kind: impl Into<String>, message: String, retryable: bool) -> Self {
        Self(Box::new(Kind::Failed(Failure {
            kind: kind.into(),
            message,
            code: None,
            details: None,
            retryable,
            retry_after: None,
            trace: format!("at {}", Location::caller()),
        })))
    }

    pub(crate) fn parked(wait_for: Value) -> Self {
        Self(Box::new(Kind::Parked(wait_for)))
    }

    pub(crate) fn yielded(checkpoint: Value) -> Self {
        Self(Box::new(Kind::Yielded(checkpoint)))
    }

    pub(crate) fn cancelled(why: impl Into<String>) -> Self {
        Self(Box::new(Kind::Cancelled(why.into())))
    }
}

impl Failure {
    /// Return the error as the protocol carries it.
    pub(crate) fn body(&self) -> Value {
        let mut body = json!({"type": self.kind, "message": self.message, "retryable": self.retryable, "trace": self.trace});
        if let Some(code) = &self.code {
            body["code"] = json!(code);
        }
        if let Some(details) = &self.details {
            body["details"] = details.clone();
        }
        if let Some(delay) = self.retry_after {
            body["retry_after_s"] = json!(delay.as_secs_f64());
        }
        body
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for Error {
    #[track_caller]
    fn from(error: E) -> Self {
        let mut failed = Self::failed(std::any::type_name::<E>(), error.to_string(), true);
        if let Kind::Failed(failure) = &mut *failed.0 {
            let mut cause = error.source();
            while let Some(inner) = cause {
                failure.trace += &format!("\ncaused by: {inner}");
                cause = inner.source();
            }
        }
        failed
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Kind::Failed(failure) => formatter.write_str(&failure.message),
            Kind::Parked(wait_for) => write!(formatter, "the step waits for {wait_for}"),
            Kind::Yielded(_) => formatter.write_str("the step goes back to its queue"),
            Kind::Cancelled(why) => write!(formatter, "the attempt must stop: {why}"),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "tasker::Error({self})")
    }
}
