//! Handlers of every form, run without a server.

use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{json, Value};
use tasker::testing::{StepRun, StepTest};
use tasker::{Context, Error, HandlerOptions, Level, RunTask, Signal, Wait, Worker};

#[derive(Deserialize, Serialize)]
struct Cart {
    total: u64,
}

fn of_value(context: &Value) -> Result<Value, String> {
    let cents = context["cents"].as_u64().ok_or("cents must be a number")?;
    Ok(json!({"cents": cents}))
}

fn of_results(context: &Value, results: &HashMap<String, Value>) -> Result<Value, String> {
    Ok(json!([context["cents"], results["validate"]]))
}

async fn of_context(ctx: Context) -> Result<Cart, Error> {
    let cart: Cart = ctx.result("validate")?;
    let tip: Option<u64> = ctx.input("tip")?;
    Ok(Cart { total: cart.total + tip.unwrap_or_default() })
}

fn error_of(run: &StepRun) -> (&str, bool, &str) {
    let error = &run.outcome["error"];
    let text = |field: &str| error[field].as_str().unwrap_or_default();
    (text("code"), error["retryable"].as_bool().unwrap(), text("message"))
}

#[tokio::test]
async fn functions_of_every_form_are_handlers() {
    let step = StepTest::new().context(json!({"cents": 5})).result("validate", json!({"total": 7}));

    assert_eq!(step.clone().run(of_value).await.outcome["result"], json!({"cents": 5}));
    assert_eq!(step.clone().run(of_results).await.outcome["result"], json!([5, {"total": 7}]));
    assert_eq!(step.run(of_context).await.outcome["result"], json!({"total": 7}));
}

#[tokio::test]
async fn errors_are_classified() {
    async fn later(_: Context) -> Result<(), Error> {
        Err(Error::retryable("later").code("BUSY").retry_after(Duration::from_secs(7)))
    }
    async fn ordinary(_: Context) -> Result<u8, Error> {
        Ok("x".parse::<u8>()?)
    }

    let text = StepTest::new().run(of_value).await;
    let missing = StepTest::new().run(of_context).await;
    let later = StepTest::new().run(later).await;
    let ordinary = StepTest::new().run(ordinary).await;

    assert_eq!(error_of(&text), ("", false, "cents must be a number"));
    assert_eq!((error_of(&missing).0, error_of(&missing).1), ("invalid_input", false));
    assert_eq!(error_of(&later), ("BUSY", true, "later"));
    assert_eq!(later.outcome["error"]["retry_after_s"], 7.0);
    assert_eq!(error_of(&ordinary), ("", true, "invalid digit found in string"));
    assert_eq!(ordinary.outcome["error"]["type"], "core::num::error::ParseIntError");
    assert!(ordinary.outcome["error"]["trace"].as_str().unwrap().contains("tests/handlers.rs"));
}

#[tokio::test]
async fn a_panic_is_caught_and_retried() {
    fn in_thread(_: &Value) -> Result<(), String> {
        panic!("in a thread")
    }
    async fn in_task(ctx: Context) -> Result<(), Error> {
        panic!("in attempt {}", ctx.attempt())
    }

    assert_eq!(error_of(&StepTest::new().run(in_thread).await), ("", true, "in a thread"));
    assert_eq!(error_of(&StepTest::new().run(in_task).await), ("", true, "in attempt 1"));
}

#[tokio::test]
async fn a_durable_call_is_made_once() {
    async fn draws(ctx: Context) -> Result<Value, Error> {
        let attempt = ctx.attempt();
        ctx.once("draw", || async move { Ok(json!({"drawn": attempt})) }).await
    }

    let first = StepTest::new().run(draws).await;
    let second = StepTest::new().recorded("draw", first.recorded["draw"].clone()).run(draws).await;

    assert_eq!(second.outcome["result"], json!({"drawn": 1}));
    assert!(second.recorded.is_empty());
}

#[tokio::test]
async fn waits_end_the_attempt_even_if_their_errors_are_swallowed() {
    async fn patient(ctx: Context) -> Result<Value, Error> {
        let waited = async {
            ctx.sleep(Duration::from_secs(60)).await?;
            let wait = Wait { timeout: Some(Duration::from_secs(5)), ..Wait::default() };
            ctx.wait_signal::<Value>(Signal::named("paid").key("o-1"), wait).await
        };
        Ok(waited.await.unwrap_or_default().unwrap_or_default())
    }
    let step = StepTest::new();

    let first = step.clone().run(patient).await;
    let step = step.recorded("sleep-1", Value::Null);
    let second = step.clone().run(patient).await;
    let third = step.recorded("wait_signal-1", json!({"name": "paid", "payload": 5})).run(patient).await;

    assert_eq!(first.outcome, json!({"outcome": "parked", "wait_for": {"delay_s": 60.0, "call": "sleep-1"}}));
    let signal = json!({"signal": {"name": "paid", "key": "o-1"}, "timeout_s": 5.0, "call": "wait_signal-1"});
    assert_eq!(second.outcome["wait_for"], signal);
    assert_eq!(third.outcome["result"], 5);
}

#[tokio::test]
async fn a_wait_that_times_out_fails_for_good_or_goes_on() {
    async fn failing(ctx: Context) -> Result<Option<Value>, Error> {
        ctx.wait_signal("paid", Wait::default()).await
    }
    async fn going(ctx: Context) -> Result<Option<Value>, Error> {
        ctx.wait_signal("paid", Wait { continue_on_timeout: true, ..Wait::default() }).await
    }
    let step = StepTest::new().recorded("wait_signal-1", json!({"timed_out": true}));

    assert_eq!(error_of(&step.clone().run(failing).await).0, "wait_timeout");
    assert_eq!(step.run(going).await.outcome, json!({"outcome": "complete", "result": null}));
}

#[tokio::test]
async fn a_name_belongs_to_one_durable_call() {
    async fn twice(ctx: Context) -> Result<u8, Error> {
        ctx.once("a", || async { Ok(1) }).await?;
        ctx.once("a", || async { Ok(2) }).await
    }
    async fn changed(ctx: Context) -> Result<u8, Error> {
        ctx.once("sleep-1", || async { Ok(1) }).await
    }

    let changed = StepTest::new().recorded("sleep-1", Value::Null).run(changed).await;
    assert_eq!(error_of(&StepTest::new().run(twice).await).0, "durable_call_conflict");
    assert_eq!(error_of(&changed).0, "durable_call_conflict");
}

#[tokio::test]
async fn a_child_task_gives_its_result_or_leaves_the_step_waiting() {
    async fn parent(ctx: Context) -> Result<Value, Error> {
        ctx.run_task("payments.refund", json!({"cents": 5}), RunTask::default()).await
    }

    let waiting = StepTest::new().run(parent).await;
    let ended = StepTest::new().task("payments.refund", json!({"ok": true})).run(parent).await;

    assert_eq!(waiting.outcome["wait_for"], json!({"task": "test"}));
    assert_eq!(ended.outcome["result"], json!({"ok": true}));
}

#[tokio::test]
async fn checkpoints_are_kept_and_handing_back_yields() {
    async fn pages(ctx: Context) -> Result<(), Error> {
        let page: Option<u64> = ctx.last_checkpoint()?;
        ctx.checkpoint(page.unwrap_or(0) + 1).await?;
        ctx.hand_back(ctx.last_checkpoint::<u64>()? + 1)
    }

    let run = StepTest::new().checkpoint(json!(4)).run(pages).await;

    assert_eq!(run.checkpoints, [json!(5)]);
    assert_eq!(run.outcome, json!({"outcome": "yielded", "checkpoint": 6}));
}

#[tokio::test]
async fn a_worker_without_namespaces_does_not_start() {
    let none: [&str; 0] = [];
    let worker = Worker::new("http://localhost:1").namespaces(none).handler("shop.reserve", of_value);
    let running = tokio::spawn(worker.run());
    let error = running.await.unwrap().unwrap_err();

    assert!(error.message.starts_with("handler shop.reserve has no namespace"), "{error}");
}

#[tokio::test]
async fn handlers_of_one_name_need_different_versions_or_namespaces() {
    let of = |versions: &[&str]| HandlerOptions {
        versions: versions.iter().map(ToString::to_string).collect(),
        ..HandlerOptions::default()
    };
    let worker = Worker::new("http://localhost:1")
        .namespaces(["shop"])
        .handler_with("Shop::Refund", of_value, of(&["1.0.0", "1.1.0"]))
        .handler_with("Shop.Refund", of_value, of(&["2.0.0"]))
        .handler_with("Shop.Refund", of_value, of(&["1.1.0", "1.0.0"]));
    let running = tokio::spawn(worker.run());
    let error = running.await.unwrap().unwrap_err();

    assert!(error.message.starts_with("handler Shop.Refund is added twice"), "{error}");
}

#[tokio::test]
async fn log_records_and_the_last_progress_are_kept() {
    async fn logs(ctx: Context) -> Result<Value, Error> {
        ctx.log(Level::Warning, "slow", json!({"seconds": 3}));
        ctx.progress(f64::NAN, "begun")?;
        ctx.progress(7.0, "done")?;
        Ok(Value::Null)
    }
    let run = StepTest::new().run(logs).await;
    let fields = ["number", "level", "message", "source", "fields"];
    let logs: Vec<Value> = run.logs.iter().map(|log| fields.map(|name| log[name].clone()).into()).collect();
    assert_eq!(
        vec![
            json!([0, "warning", "slow", "", {"seconds": 3}]),
            json!([1, "info", "done", "progress", {"fraction": 1.0}]),
        ],
        logs
    );
}
