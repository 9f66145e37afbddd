# frozen_string_literal: true

module Payments
  module_function

  def validate_payment_eligibility(ctx)
    payment = ctx.input("payment_id")
    raise Tasker::PermanentError.new("payment #{payment} is closed", code: "PAYMENT_CLOSED") if payment.start_with?("closed_")

    { payment_id: payment, eligible: true }
  end

  # A real gateway gets `ctx.idempotency_key`, so that a repeated attempt moves the money once.
  def process_gateway_refund(ctx)
    payment = ctx.result("validate_payment_eligibility")["payment_id"]
    { refund_id: "refund_of_#{payment}", amount: ctx.input("refund_amount") }
  end
end
