# frozen_string_literal: true

Rails.application.config.to_prepare do
  %i[validate_refund_request execute_refund_workflow update_ticket_status].each do |name|
    Tasker.handler(name, CustomerSuccess.method(name))
  end
  %i[validate_payment_eligibility process_gateway_refund].each do |name|
    Tasker.handler(name, Payments.method(name))
  end
end
