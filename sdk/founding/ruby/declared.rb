# frozen_string_literal: true

# 002: two workflows declared in Ruby. Supplied: a handler for each step, of the step's name.

require_relative "support"

if MODE == "create"
  load_block("002:135")
  print_variables(:payments_task, :cs_task)
  exit
end

load_block("002:65")
%w[validate_payment_eligibility process_gateway_refund update_payment_records notify_customer
   validate_refund_request check_refund_policy get_manager_approval execute_refund_workflow].each do |name|
  Tasker.handler(name) { |context| { done: "#{context.namespace}.#{name}", context: context.input } }
end
serve
