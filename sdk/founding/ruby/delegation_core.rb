# frozen_string_literal: true

# 003: customer success delegates a refund to payments. Supplied: the class around the printed `call`,
# the other handlers of customer success, and those of payments.

require_relative "support"

case MODE
when "create"
  load_block("003:305")
  print_variables(:task)
  exit
when "create_payment"
  load_block("003:319")
  print_variables(:task)
  exit
end

load_block("003:161")

module CustomerSuccess
  module StepHandlers
    class CheckRefundPolicyHandler < TaskerCore::StepHandler::Base
      def call(_context)
        success(result: { policy_checked: true })
      end
    end

    class GetManagerApprovalHandler < TaskerCore::StepHandler::Base
      def call(_context)
        success(result: { approval_obtained: true, approval_id: "appr_1" })
      end
    end

    class ExecuteRefundWorkflowHandler < TaskerCore::StepHandler::Base; end

    class UpdateTicketStatusHandler < TaskerCore::StepHandler::Base
      def call(context)
        success(result: { ticket_id: context.get_input("ticket_id"), status: "refund_delegated" })
      end
    end
  end
end

load_inside(CustomerSuccess::StepHandlers::ExecuteRefundWorkflowHandler, "003:273")
supply(
  "team_scaling_payments_validate_eligibility" => ->(context) { { payment_validated: true, namespace: context.namespace } },
  "team_scaling_payments_process_gateway_refund" => { refund_id: "re_1" },
  "team_scaling_payments_update_records" => { updated: true },
  "team_scaling_payments_notify_customer" => { notified: true }
)
serve(templates: [block_text("003:48"), block_text("003:102")])
