# frozen_string_literal: true

# 002: a step that executes the workflow of another team and waits for it. Supplied: a handler for each
# other step.

require_relative "support"

load_block("002:191")
load_block("002:290")
supply(
  "validate_payment_eligibility" => {}, "check_fraud_indicators" => {}, "update_payment_records" => {},
  "notify_stakeholders" => {}, "validate_refund_request" => {}, "update_customer_record" => {},
  "get_manager_approval" => { payment_id: "pay_9", approved_amount: 49.99 },
  "process_gateway_refund" => lambda do |context|
    raise Tasker::PermanentError, "the gateway is closed" if context.input("payment_id") == "pay_9" && context.input("cs_ticket_id") == "fails"

    { refund_id: "re_9", amount: context.input("amount"), processed_at: "2024-05-02T10:00:00Z" }
  end
)
serve
