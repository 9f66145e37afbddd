//! The handlers of both teams.

use serde::{Deserialize, Serialize};
use serde_json::{json, Value};
use tasker::{Context, Error, RunTask, Worker};

const MOST: u64 = 500_000; // cents

#[derive(Serialize, Deserialize)]
struct Approved {
    approved_amount: u64,
}

#[derive(Serialize, Deserialize)]
struct Eligible {
    payment_id: String,
    eligible: bool,
}

#[derive(Serialize, Deserialize)]
struct Refund {
    refund_id: String,
    amount: u64,
}

async fn validate_refund_request(ctx: Context) -> Result<Approved, Error> {
    let approved_amount: u64 = ctx.input("refund_amount")?;
    if approved_amount > MOST {
        let message = format!("a manager decides about {approved_amount} cents");
        return Err(Error::permanent(message).code("NEEDS_MANAGER"));
    }
    Ok(Approved { approved_amount })
}

/// The payments team's task: another namespace, and perhaps another language.
async fn execute_refund_workflow(ctx: Context) -> Result<Refund, Error> {
    let approved: Approved = ctx.result("validate_refund_request")?;
    let payment: String = ctx.input("payment_id")?;
    let refund = json!({"payment_id": payment, "refund_amount": approved.approved_amount});
    ctx.run_task("payments.process_refund", refund, RunTask::default())
        .await
}

async fn update_ticket_status(ctx: Context) -> Result<Value, Error> {
    let refund: Refund = ctx.result("execute_refund_workflow")?;
    let ticket: String = ctx.input("ticket_id")?;
    Ok(json!({"ticket_id": ticket, "ticket_status": "resolved", "refund_id": refund.refund_id}))
}

async fn validate_payment_eligibility(ctx: Context) -> Result<Eligible, Error> {
    let payment_id: String = ctx.input("payment_id")?;
    if payment_id.starts_with("closed_") {
        return Err(Error::permanent(format!("payment {payment_id} is closed")).code("PAYMENT_CLOSED"));
    }
    Ok(Eligible {
        payment_id,
        eligible: true,
    })
}

/// A real gateway gets `ctx.idempotency_key()`, so that a repeated attempt moves the money once.
async fn process_gateway_refund(ctx: Context) -> Result<Refund, Error> {
    let payment: Eligible = ctx.result("validate_payment_eligibility")?;
    let refund_id = format!("refund_of_{}", payment.payment_id);
    Ok(Refund {
        refund_id,
        amount: ctx.input("refund_amount")?,
    })
}

pub fn register(worker: Worker) -> Worker {
    worker
        .handler("validate_refund_request", validate_refund_request)
        .handler("execute_refund_workflow", execute_refund_workflow)
        .handler("update_ticket_status", update_ticket_status)
        .handler("validate_payment_eligibility", validate_payment_eligibility)
        .handler("process_gateway_refund", process_gateway_refund)
}
