use std::time::Duration;

use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinError;
use tokio::time::{sleep, sleep_until, Instant};

use crate::context::{lock, Context};
use crate::error::Error;
use crate::handler::{panicked, Call};
use crate::protocol::{Failure, Outcome};
use crate::session::Event;

const SEND_LOGS_EVERY: Duration = Duration::from_millis(500);

/// Run the handler of an attempt, and report its outcome, and when its slot is free.
pub(crate) async fn run(
    context: Context,
    handler: Option<Call>,
    gone: oneshot::Receiver<()>,
    events: mpsc::UnboundedSender<Event>,
) {
    let ticket = context.0.claimed.ticket.clone();
    let report = |outcome, frees_slot| {
        let ticket = ticket.clone();
        let _ = events.send(Event::Ended { ticket, outcome, frees_slot });
    };
    let mut work = tokio::spawn(call(context.clone(), handler));
    let stopped = tokio::select! {
        ended = &mut work => {
            context.send_log().await; // before the outcome: after it, the attempt is over
            return report(Some(conclude(&context, ended)), true);
        }
        outcome = overdue(&context) => Some(outcome),
        () = context.cancelled() => None,
        () = send_logs(&context) => None,
    };
    if let Some(Outcome::Failed { error }) = &stopped {
        context.0.cancel.send_replace(Some(error.message.clone()));
    }
    report(stopped, false);
    work.abort();
    drop(context);
    let _ = gone.await; // a function in a thread goes on, and keeps its slot
    report(None, true);
}

async fn call(context: Context, handler: Option<Call>) -> Result<Value, Error> {
    let Some(handler) = handler else {
        let message = format!("this worker has no handler {}", context.0.claimed.handler);
        return Err(Error::permanent(message).code("handler_not_found"));
    };
    context.load_payload().await?;
    handler(context).await
}

/// Return the outcome of a handler that has ended.
pub(crate) fn conclude(context: &Context, ended: Result<Result<Value, Error>, JoinError>) -> Outcome {
    if let Some(suspended) = lock(&context.0.suspended).take() {
        return suspended;
    }
    match ended.unwrap_or_else(|error| Err(panicked(error))) {
        Ok(result) => Outcome::Complete { result },
        Err(error) => *error.0,
    }
}

/// Wait until a time limit is exceeded, and return the outcome.
async fn overdue(context: &Context) -> Outcome {
    let began = Instant::now();
    let claimed = &context.0.claimed;
    loop {
        let heartbeat = *lock(&context.0.heartbeat);
        let limits = [
            ("timeout", claimed.timeout_s, began, "the attempt took longer than"),
            ("heartbeat_timeout", claimed.heartbeat_timeout_s, heartbeat, "no heartbeat within"),
        ];
        let next = limits
            .into_iter()
            .filter_map(|(code, limit, since, what)| {
                let end = since + Duration::from_secs_f64(limit?);
                Some((end, code, format!("{what} {} s", limit?)))
            })
            .min();
        let Some((end, code, message)) = next else {
            return std::future::pending().await;
        };
        if end <= Instant::now() {
            let error = Failure {
                kind: "Timeout".into(),
                code: Some(code.into()),
                message,
                retryable: true,
                ..Failure::default()
            };
            return Outcome::Failed { error };
        }
        sleep_until(end).await;
    }
}

async fn send_logs(context: &Context) {
    loop {
        sleep(SEND_LOGS_EVERY).await;
        context.send_log().await;
    }
}
