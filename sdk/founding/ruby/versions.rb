# frozen_string_literal: true

# 002: two versions of a workflow. Supplied: version 2.0.0, a handler for each step, and the calls that
# execute the printed requests.

require_relative "support"

if MODE == "create"
  load_block("002:233")
  %i[new_refund legacy_refund].each do |name|
    TOPLEVEL_BINDING.local_variable_set("#{name}_task", Tasker::TaskExecutor.execute_sync(TOPLEVEL_BINDING.local_variable_get(name)))
  end
  print_variables(:new_refund_task, :legacy_refund_task)
  exit
end

module Legacy
  class ProcessRefundHandler < Tasker::TaskHandler::Base
    register_handler("process_refund", namespace_name: "payments", version: "2.0.0")
    define_step_templates do |templates|
      templates.define(name: "validate_payment_eligibility")
      templates.define(name: "process_gateway_refund", depends_on_step: "validate_payment_eligibility")
    end
  end
end

load_block("002:191")
%w[validate_payment_eligibility check_fraud_indicators process_gateway_refund update_payment_records
   notify_stakeholders].each do |name|
  Tasker.handler(name) { |context| { version: context.version } }
end
serve
