use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{json, Map, Value};
use tokio::time::Instant;

use crate::attempt::{lock, Attempt};
use crate::client::Client;
use crate::error::Error;
use crate::log::Level;
use crate::protocol::{Outcome, Payload};

/// A handler's view of one attempt of one step.
#[derive(Clone)]
pub struct Context(pub(crate) Arc<Attempt>);

/// The range of numbers, without its end, that an instance of a `batch` works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Cursor {
    /// The first number.
    pub start: i64,
    /// The number after the last.
    pub end: i64,
}

macro_rules! fields_of_claim {
    ($($(#[$doc:meta])* $name:ident $(.$read:ident())? -> $type:ty;)*) => {
        $($(#[$doc])* pub fn $name(&self) -> $type { self.0.claimed.$name $(.$read())? })*
    };
}

impl Context {
    fields_of_claim! {
        /// Return the id of the task.
        task_id.as_str() -> &str;
        /// Return the step's name. The name of an instance includes its number: `convert[17]`.
        step.as_str() -> &str;
        /// Return the namespace of the template.
        namespace.as_str() -> &str;
        /// Return the name of the template.
        template.as_str() -> &str;
        /// Return the version of the template.
        version.as_str() -> &str;
        /// Return the attempt's number, from 1; never reused.
        attempt -> u32;
        /// Return how many attempts count against `max_attempts`, including this one.
        counted_attempts -> u32;
        /// Return the maximum number of attempts.
        max_attempts -> u32;
        /// Return a key for effects outside: the same in all attempts, unique to the step.
        idempotency_key.as_str() -> &str;
        /// Return the id that connects related tasks.
        correlation_id.as_str() -> &str;
        /// Return the id of the task that created this one.
        parent_id.as_deref() -> Option<&str>;
        /// Return the W3C traceparent of the request that created the task.
        traceparent.as_deref() -> Option<&str>;
        /// Return which entry point of the handler the template names.
        method.as_deref() -> Option<&str>;
        /// Return where another system completes this external step.
        completion_url.as_deref() -> Option<&str>;
    }

    fn payload(&self) -> &Payload {
        self.0.payload.get().unwrap_or(&self.0.claimed.payload)
    }

    /// Return the task's context: its inputs by name.
    pub fn inputs(&self) -> &Value {
        &self.payload().context
    }

    /// Return the task's context as a type of your own.
    ///
    /// # Errors
    ///
    /// Permanent: it is no `T`.
    pub fn context<T: DeserializeOwned>(&self) -> Result<T, Error> {
        read(self.inputs(), "the context")
    }

    /// Return one input; an absent one is null, which is an `Option`'s None.
    ///
    /// # Errors
    ///
    /// Permanent: it is no `T`.
    pub fn input<T: DeserializeOwned>(&self, name: &str) -> Result<T, Error> {
        read(&self.inputs()[name], format_args!("input {name}"))
    }

    /// Return the results of the steps before this one, by name.
    pub fn results(&self) -> &HashMap<String, Value> {
        &self.payload().results
    }

    /// Return the result of an earlier step; without one it is null.
    ///
    /// # Errors
    ///
    /// Permanent: it is no `T`.
    pub fn result<T: DeserializeOwned>(&self, step: &str) -> Result<T, Error> {
        read(self.results().get(step), format_args!("the result of {step}"))
    }

    /// Return the error of an earlier step that failed.
    pub fn failure_of(&self, step: &str) -> Option<&Value> {
        self.payload().failures.get(step)
    }

    /// Return the step's configuration in the template.
    pub fn configuration(&self) -> &Map<String, Value> {
        &self.payload().config
    }

    /// Return one value of the step's configuration in the template.
    ///
    /// # Errors
    ///
    /// Permanent: it is no `T`.
    pub fn config<T: DeserializeOwned>(&self, name: &str) -> Result<T, Error> {
        read(self.configuration().get(name), format_args!("config {name}"))
    }

    /// Return the element for which this instance of a `map` runs.
    ///
    /// # Errors
    ///
    /// Permanent: it is no `T`.
    pub fn item<T: DeserializeOwned>(&self) -> Result<T, Error> {
        read(&self.payload().items["item"], "the item")
    }

    /// Return the numbers that this instance of a `batch` works on.
    ///
    /// # Errors
    ///
    /// Permanent: the step is not part of a batch.
    pub fn cursor(&self) -> Result<Cursor, Error> {
        read(&self.payload().items["cursor"], "the cursor")
    }

    /// Return the value of the last checkpoint of this or an earlier attempt; without one it is null.
    ///
    /// # Errors
    ///
    /// Permanent: it is no `T`.
    pub fn last_checkpoint<T: DeserializeOwned>(&self) -> Result<T, Error> {
        let saved = lock(&self.0.checkpoint);
        let value = saved.as_ref().unwrap_or(&self.payload().checkpoint);
        read(value, "the checkpoint")
    }

    /// Return the client that creates and reads tasks on behalf of this attempt.
    pub fn client(&self) -> Client {
        Client { api: self.0.api.clone(), creator: Some(self.clone()) }
    }

    /// Return whether this attempt must stop.
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.borrow().is_some()
    }

    /// Wait until this attempt must stop. Async handlers are dropped then anyway.
    pub async fn cancelled(&self) {
        let _ = self.0.cancelled.clone().wait_for(Option::is_some).await;
    }

    /// Report that the attempt is alive; call it in long loops.
    ///
    /// # Errors
    ///
    /// The attempt must stop: pass the error on.
    pub fn heartbeat(&self) -> Result<(), Error> {
        if let Some(why) = &*self.0.cancelled.borrow() {
            return Err(Error::cancelled(why.clone()));
        }
        *lock(&self.0.heartbeat) = Instant::now();
        Ok(())
    }

    /// Save the progress of this attempt for the next one; durable on return.
    ///
    /// # Errors
    ///
    /// The attempt must stop, or the value is too large.
    pub async fn checkpoint(&self, value: impl Serialize) -> Result<(), Error> {
        let value = to_json(value, "the checkpoint")?;
        self.ask::<Value>("checkpoint", json!({"value": value})).await?;
        *lock(&self.0.checkpoint) = Some(value);
        Ok(())
    }

    /// End the attempt with a checkpoint: the handler starts again later.
    ///
    /// # Errors
    ///
    /// Always: pass the error on.
    pub fn hand_back<T>(&self, checkpoint: impl Serialize) -> Result<T, Error> {
        let checkpoint = to_json(checkpoint, "the checkpoint")?;
        self.suspend(Outcome::Yielded { checkpoint })
    }

    /// Report progress for people: a fraction from 0 to 1, and a text. It is sent within a second.
    ///
    /// # Errors
    ///
    /// The attempt must stop: pass the error on.
    pub fn progress(&self, fraction: f64, message: &str) -> Result<(), Error> {
        self.heartbeat()?;
        let fraction = fraction.max(0.0).clamp(0.0, 1.0); // `max` makes NaN 0
        lock(&self.0.log).progress(fraction, message);
        Ok(())
    }

    /// Store a log record with this attempt. `fields` is an object, or `()` for none; a value without
    /// a JSON form is left out.
    pub fn log(&self, level: Level, message: impl AsRef<str>, fields: impl Serialize) {
        let fields = serde_json::to_value(fields).ok().filter(Value::is_object);
        lock(&self.0.log).add(level, message.as_ref(), fields.unwrap_or_else(|| json!({})));
    }

    /// End the attempt without a result, even if the handler swallows the error.
    pub(crate) fn suspend<T>(&self, how: Outcome) -> Result<T, Error> {
        *lock(&self.0.suspended) = Some(how.clone());
        Err(Error(Box::new(how)))
    }
}

/// Return a value as a `T`; an absent one is null.
pub(crate) fn read<'a, T: DeserializeOwned>(
    value: impl Into<Option<&'a Value>>,
    what: impl fmt::Display,
) -> Result<T, Error> {
    T::deserialize(value.into().unwrap_or(&Value::Null))
        .map_err(|error| Error::permanent(format!("{what}: {error}")).code("invalid_input"))
}

pub(crate) fn to_json(value: impl Serialize, what: &str) -> Result<Value, Error> {
    serde_json::to_value(value)
        .map_err(|error| Error::permanent(format!("{what} has no JSON form: {error}")).code("invalid_result"))
}
