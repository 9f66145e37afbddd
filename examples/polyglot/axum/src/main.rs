//! Refunds over HTTP, and the worker that runs their steps, in one process.

mod handlers;

use std::future::IntoFuture;

use axum::extract::{Path, State};
use axum::http::{header, HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{json, Value};
use tasker::{ApiError, Client, CreateOptions, Task, Worker};

/// The server's refusal as this application's answer.
struct Refusal(ApiError);

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self(error)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = self.0.status.and_then(|status| StatusCode::from_u16(status).ok());
        let body = json!({"code": self.0.code, "detail": self.0.message});
        (status.unwrap_or(StatusCode::BAD_GATEWAY), Json(body)).into_response()
    }
}

fn refund(task: &Task) -> Value {
    json!({"id": task.id, "status": task.status, "result": task.result, "error": task.error})
}

async fn create(
    State(tasker): State<Client>,
    headers: HeaderMap,
    Json(context): Json<Value>,
) -> Result<impl IntoResponse, Refusal> {
    let text = |name| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned)
    };
    let options = CreateOptions {
        correlation_id: text("x-request-id"),
        idempotency_key: text("idempotency-key"),
        ..CreateOptions::default()
    };
    let task = tasker
        .create("customer_success.process_refund", context, options)
        .await?;
    let location = [(header::LOCATION, format!("/refunds/{}", task.id))];
    Ok((StatusCode::ACCEPTED, location, Json(refund(&task))))
}

async fn show(State(tasker): State<Client>, Path(id): Path<String>) -> Result<Json<Value>, Refusal> {
    Ok(Json(refund(&tasker.get(&id).await?)))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::var("TASKER_URL").unwrap_or_else(|_| "http://127.0.0.1:8080".into());
    let routes = Router::new()
        .route("/refunds", post(create))
        .route("/refunds/{id}", get(show))
        .with_state(Client::new(&url));
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".into());
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    let serving = tokio::spawn(axum::serve(listener, routes).into_future());
    handlers::register(Worker::new(url)).run().await?; // until SIGTERM
    serving.abort();
    Ok(())
}
