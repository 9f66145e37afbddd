# frozen_string_literal: true

# 001: customer success delegates a refund to payments over HTTP. Supplied: Rails.logger, the mock of the
# customer service platform, the other handlers of customer success, and those of payments.

require_relative "support"

module Rails
  def self.logger
    @logger ||= Logger.new($stderr)
  end
end

module MockCustomerServiceSystem
  class ServiceError < StandardError; end

  def self.validate_refund_request(inputs)
    raise ServiceError, "Ticket not found" if inputs[:ticket_id] == "unknown"

    { "ticket_id" => inputs[:ticket_id], "customer_id" => inputs[:customer_id], "status" => inputs[:ticket_id] == "closed" ? "closed" : "open",
      "customer_tier" => "gold", "purchase_date" => "2024-01-02", "payment_id" => "pay_123" }
  end
end

load_file("001:108", "app/tasks/payments/handlers/process_refund_handler.rb")
load_file("001:186", "app/tasks/customer_success/handlers/process_refund_handler.rb")
write_block("001:122", "app/tasks/payments/config/process_refund_handler.yaml")
write_block("001:200", "app/tasks/customer_success/config/process_refund_handler.yaml")
load_block("001:379")
load_block("001:580")

module BlogExamples
  module Post04
    module StepHandlers
      class CheckRefundPolicyHandler < Tasker::StepHandler::Base
        def process(_task, _sequence, _step)
          { policy_compliant: true }
        end
      end

      class GetManagerApprovalHandler < Tasker::StepHandler::Base
        def process(_task, _sequence, _step)
          { approval_obtained: true, approval_id: "appr_1" }
        end
      end

      class UpdateTicketStatusHandler < Tasker::StepHandler::Base
        def process(task, sequence, _step)
          delegated = sequence.find_step_by_name("execute_refund_workflow").results
          { ticket_id: task.context["ticket_id"], delegated_task_id: delegated["delegated_task_id"] }
        end
      end
    end
  end
end

module Payments
  module StepHandlers
    %w[ValidatePaymentEligibility ProcessGatewayRefund UpdatePaymentRecords NotifyCustomer].each do |name|
      handler = Class.new(Tasker::StepHandler::Base) { define_method(:process) { |task, _sequence, _step| { done: name, payment_id: task.context[:payment_id] } } }
      const_set("#{name}Handler", handler)
    end
  end
end

serve
