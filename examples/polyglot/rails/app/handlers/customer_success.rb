# frozen_string_literal: true

module CustomerSuccess
  MOST = 500_000 # cents

  module_function

  def validate_refund_request(ctx)
    amount = ctx.input("refund_amount")
    raise Tasker::PermanentError.new("a manager decides about #{amount} cents", code: "NEEDS_MANAGER") if amount > MOST

    { approved_amount: amount }
  end

  # The payments team's task: another namespace, and perhaps another language.
  def execute_refund_workflow(ctx)
    approved = ctx.result("validate_refund_request")
    ctx.run_task("payments.process_refund",
                 { payment_id: ctx.input("payment_id"), refund_amount: approved["approved_amount"] })
  end

  def update_ticket_status(ctx)
    refund = ctx.result("execute_refund_workflow")
    { ticket_id: ctx.input("ticket_id"), ticket_status: "resolved", refund_id: refund["refund_id"] }
  end
end
