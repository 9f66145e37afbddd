# frozen_string_literal: true

# 001: two teams register one name in one namespace. Supplied: a step for each template.

require_relative "support"

STEPS = <<~YAML
  step_templates:
    - name: refund
      handler_class: %s
YAML

load_file("001:28", "payments/handlers/process_refund_handler.rb")
load_file("001:48", "customer_success/handlers/process_refund_handler.rb")
write_block("001:39", "payments/config/process_refund.yaml", with: format(STEPS, "Payments::Refund"))
write_block("001:59", "customer_success/config/process_refund.yaml", with: format(STEPS, "CustomerSuccess::Refund"))
supply("Payments::Refund" => {}, "CustomerSuccess::Refund" => {})
serve
