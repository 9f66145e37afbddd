//! Handlers and client for Tasker, the durable workflow orchestrator.
//!
//! ```no_run
//! use serde_json::{json, Value};
//! use tasker::{Context, Error, Worker};
//!
//! fn validate(context: &Value) -> Result<Value, String> {
//!     let cents = context["cents"].as_i64().ok_or("cents must be an integer")?;
//!     Ok(json!({"cents": cents}))
//! }
//!
//! async fn charge(ctx: Context) -> Result<Value, Error> {
//!     let validated: Value = ctx.result("validate")?;
//!     let charge = ctx.once("charge", || async { Ok(json!({"id": "ch_1"})) }).await?;
//!     Ok(json!({"charge": charge, "cents": validated["cents"]}))
//! }
//!
//! # async fn main_() -> Result<(), tasker::ApiError> {
//! Worker::new("http://localhost:8080")
//!     .namespaces(["payments"])
//!     .handler("validate", validate)
//!     .handler("charge", charge)
//!     .run()
//!     .await
//! # }
//! ```

mod api;
mod attempt;
mod client;
mod context;
mod durable;
mod error;
mod handler;
mod log;
mod outage;
mod protocol;
mod session;
pub mod testing;
mod worker;

pub use api::ApiError;
pub use client::{Client, CreateOptions, Task, TaskStatus};
pub use context::{Context, Cursor};
pub use durable::{Approval, Arrival, Decision, RunTask, Signal, Wait};
pub use error::Error;
pub use handler::{choose, HandlerOptions, IntoHandler, Needs};
pub use log::Level;
pub use worker::{StopHandle, Worker};
