//! The worker that the conformance kit starts: see ../conformance/README.md.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{json, Value};
use tasker::{choose, Context, CreateOptions, Error, HandlerOptions, Level, RunTask, Wait, Worker};

type Result = std::result::Result<Value, Error>;

async fn describe(ctx: Context) -> Result {
    Ok(json!({
        "step": ctx.step(),
        "task_id": ctx.task_id(),
        "namespace": ctx.namespace(),
        "template": ctx.template(),
        "version": ctx.version(),
        "attempt": ctx.attempt(),
        "counted_attempts": ctx.counted_attempts(),
        "max_attempts": ctx.max_attempts(),
        "idempotency_key": ctx.idempotency_key(),
        "correlation_id": ctx.correlation_id(),
        "parent_id": ctx.parent_id(),
        "context": ctx.inputs(),
        "config": ctx.configuration(),
        "results": ctx.results(),
        "checkpoint": ctx.last_checkpoint::<Value>()?,
    }))
}

async fn fail_permanent(_: Context) -> Result {
    Err(Error::permanent("the card is stolen").code("STOLEN").details(json!({"card": "c-1"})))
}

async fn fail_retryable(_: Context) -> Result {
    Err(Error::retryable("try later").code("LATER").retry_after(Duration::from_secs(7)))
}

async fn raise(_: Context) -> Result {
    Err(std::io::Error::other("boom"))?
}

async fn sleep(ctx: Context) -> Result {
    let ms: u64 = ctx.input("ms")?;
    tokio::time::sleep(Duration::from_millis(ms)).await;
    Ok(json!({"slept": ms}))
}

fn hangs(context: &Value) -> std::result::Result<Value, String> {
    let ms = context["ms"].as_u64().ok_or("ms must be a number")?;
    std::thread::sleep(Duration::from_millis(ms));
    Ok(json!({"hung": ms}))
}

async fn checkpointing(ctx: Context) -> Result {
    match ctx.last_checkpoint::<Option<Value>>()? {
        Some(from) => Ok(json!({"from": from})),
        None => {
            ctx.checkpoint(json!({"done": 1})).await?;
            Err(Error::retryable("again"))
        }
    }
}

async fn checkpoint_twice(ctx: Context) -> Result {
    ctx.checkpoint(1).await?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    ctx.checkpoint(2).await?;
    Ok(json!({"stored": 2}))
}

async fn hands_back(ctx: Context) -> Result {
    match ctx.last_checkpoint::<Option<Value>>()? {
        Some(from) => Ok(json!({"from": from})),
        None => ctx.hand_back(json!({"row": 5})),
    }
}

async fn parent(ctx: Context) -> Result {
    let child = ctx.run_task::<Value>("conformance.child", json!({"n": 1}), RunTask::default()).await;
    match child {
        Ok(child) => Ok(json!({"child": child})),
        Err(error) => {
            eprintln!("{error}");
            Err(error)
        }
    }
}

async fn creates(ctx: Context) -> Result {
    let options = CreateOptions { namespace: Some("conformance".into()), ..CreateOptions::default() };
    let task = ctx.client().create("child", json!({"n": 2}), options).await?;
    Ok(json!({"id": task.id}))
}

async fn reads_ancestor(ctx: Context) -> Result {
    let step: String = ctx.input("step")?;
    Ok(json!({"got": ctx.result::<Value>(&step)?}))
}

async fn big(ctx: Context) -> Result {
    Ok(json!({"text": "x".repeat(ctx.input("n")?)}))
}

async fn no_json(_: Context) -> std::result::Result<HashMap<(u8, u8), u8>, Error> {
    Ok([((1, 2), 3)].into())
}

async fn once(ctx: Context) -> Result {
    let attempt = ctx.attempt();
    let value: Value = ctx.once("draw", || async move { Ok(json!({"drawn": attempt})) }).await?;
    if attempt == 1 {
        return Err(Error::retryable("again"));
    }
    Ok(value)
}

async fn sleeps(ctx: Context) -> Result {
    ctx.sleep(Duration::from_secs(60)).await?;
    ctx.sleep(Duration::from_secs(120)).await?;
    Ok(json!({"attempt": ctx.attempt()}))
}

async fn waits(ctx: Context) -> Result {
    let wait = Wait { timeout: Some(Duration::from_secs(3_600)), ..Wait::default() };
    Ok(json!({"paid": ctx.wait_signal::<Value>("paid", wait).await?}))
}

async fn waits_on(ctx: Context) -> Result {
    let wait = Wait { timeout: Some(Duration::from_secs(1)), continue_on_timeout: true, ..Wait::default() };
    Ok(json!({"paid": ctx.wait_signal::<Value>("paid", wait).await?}))
}

async fn logs(ctx: Context) -> Result {
    ctx.log(Level::Info, "begun", json!({"page": 12}));
    ctx.log(Level::Warning, "slow", ());
    ctx.progress(0.25, "")?;
    ctx.progress(0.4, "page 12")?;
    tokio::time::sleep(Duration::from_millis(ctx.input("ms")?)).await;
    Ok(json!({"logged": 2}))
}

async fn logs_many(ctx: Context) -> Result {
    let n: u64 = ctx.input("n")?;
    for number in 0..n {
        ctx.log(Level::Info, format!("record {number}"), ());
    }
    Ok(json!({"logged": n}))
}

async fn cursor(ctx: Context) -> Result {
    let cursor = ctx.cursor()?;
    Ok(json!({"rows": cursor.end - cursor.start}))
}

async fn spawns(ctx: Context) -> Result {
    let links: HashMap<String, Vec<String>> = ctx.input("links")?;
    let page: String = ctx.item()?;
    ctx.spawn("step", links.get(&page).unwrap_or(&vec![])).await?;
    Ok(json!(page))
}

static RUNNING: AtomicUsize = AtomicUsize::new(0);

async fn running(ctx: Context) -> Result {
    let counted = RUNNING.fetch_add(1, Ordering::SeqCst) + 1;
    tokio::time::sleep(Duration::from_millis(ctx.input("ms")?)).await;
    RUNNING.fetch_sub(1, Ordering::SeqCst);
    Ok(json!({"running": counted}))
}

fn of_version(version: &str) -> HandlerOptions {
    HandlerOptions { versions: vec![version.into()], ..HandlerOptions::default() }
}

fn add(context: &Value) -> std::result::Result<Value, String> {
    let number = |name: &str| context[name].as_f64().ok_or(format!("{name} must be a number"));
    let sum = number("a")? + number("b")?;
    Ok(if sum.fract() == 0.0 { json!({"sum": sum as i64}) } else { json!({"sum": sum}) })
}

#[tokio::main]
async fn main() {
    let number = |name, otherwise| std::env::var(name).map_or(otherwise, |text| text.parse().expect(name));
    let ended = Worker::from_env()
        .slots(number("SLOTS", 4.0) as usize)
        .grace(Duration::from_secs_f64(number("GRACE", 5.0)))
        .handler("echo", |ctx: Context| async move { Ok(ctx.inputs().clone()) })
        .handler("describe", describe)
        .handler("add", add)
        .handler("fail_permanent", fail_permanent)
        .handler("fail_retryable", fail_retryable)
        .handler("raise", raise)
        .handler("sleep", sleep)
        .handler("hangs", hangs)
        .handler("checkpointing", checkpointing)
        .handler("checkpoint_twice", checkpoint_twice)
        .handler("hands_back", hands_back)
        .handler("parent", parent)
        .handler("creates", creates)
        .handler("reads_ancestor", reads_ancestor)
        .handler("big", big)
        .handler("no_json", no_json)
        .handler("once", once)
        .handler("sleeps", sleeps)
        .handler("waits", waits)
        .handler("waits_on", waits_on)
        .handler("decide", |_: Context| async { Ok(choose(["left", "right"])) })
        .handler("decide_none", |_: Context| async { Ok(json!({"chosen": [], "reason": "nothing to do"})) })
        .handler("cursor", cursor)
        .handler("spawns", spawns)
        .handler("running", running)
        .handler_with("which", |_: Context| async { Ok(json!({"code": "first"})) }, of_version("1.0.0"))
        .handler_with("which", |_: Context| async { Ok(json!({"code": "second"})) }, of_version("2.0.0"))
        .handler_with(
            "which",
            |_: Context| async { Ok(json!({"code": "elsewhere"})) },
            HandlerOptions { namespaces: vec!["elsewhere".into()], ..HandlerOptions::default() },
        )
        .handler("logs", logs)
        .handler("logs_many", logs_many)
        .run()
        .await;
    if let Err(error) = ended {
        eprintln!("{error}");
        std::process::exit(1);
    }
}
