use std::fmt;
use std::panic::Location;
use std::time::Duration;

use serde_json::{json, Value};

use crate::protocol::{Failure, Outcome};

/// How a handler ends its attempt without a result.
///
/// Every type that implements `std::error::Error` converts into one that a retry may help, so `?`
/// works in handlers.
#[must_use]
#[derive(Debug)]
pub struct Error(pub(crate) Box<Outcome>);

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
    pub fn code(self, code: impl Into<String>) -> Self {
        let code = Some(code.into());
        self.with(|failure| failure.code = code)
    }

    /// Set JSON about the failure, shown with it.
    pub fn details(self, details: Value) -> Self {
        self.with(|failure| failure.details = Some(details))
    }

    /// Set the time until the next attempt, instead of the policy's.
    pub fn retry_after(self, delay: Duration) -> Self {
        self.with(|failure| failure.retry_after_s = Some(delay.as_secs_f64()))
    }

    fn with(mut self, change: impl FnOnce(&mut Failure)) -> Self {
        if let Outcome::Failed { error } = &mut *self.0 {
            change(error);
        }
        self
    }

    #[track_caller]
    pub(crate) fn failed(kind: &str, message: String, retryable: bool) -> Self {
        let error = Failure {
            kind: kind.into(),
            message,
            retryable,
            trace: format!("at {}", Location::caller()),
            ..Failure::default()
        };
        Self(Box::new(Outcome::Failed { error }))
    }

    pub(crate) fn cancelled(why: impl Into<String>) -> Self {
        Self(Box::new(Outcome::Cancelled(why.into())))
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for Error {
    #[track_caller]
    fn from(error: E) -> Self {
        let failed = Self::failed(std::any::type_name::<E>(), error.to_string(), true);
        failed.with(|failure| {
            for cause in std::iter::successors(error.source(), |cause| cause.source()) {
                failure.trace += &format!("\ncaused by: {cause}");
            }
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Outcome::Failed { error } => formatter.write_str(&error.message),
            Outcome::Cancelled(why) => write!(formatter, "the attempt must stop: {why}"),
            outcome => write!(formatter, "the attempt ends here: {}", json!(outcome)),
        }
    }
}
