use serde_json::{json, Value};
use tasker::{Context, Error, Worker};

async fn add(ctx: Context) -> Result<Value, Error> {
    let before: Value = ctx.result("typescript")?;
    let sum = before["sum"].as_i64().unwrap_or_default() + 1;
    Ok(json!({"sum": sum, "language": "rust", "correlation_id": ctx.correlation_id()}))
}

#[tokio::main]
async fn main() -> Result<(), tasker::ApiError> {
    Worker::from_env().namespaces(["mixed"]).name("rust").handler("rust.add", add).run().await
}
