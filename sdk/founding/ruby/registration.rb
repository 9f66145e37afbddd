# frozen_string_literal: true

# 004: the registration of a user. Supplied: modules around the printed classes, three handlers.

require_relative "support"

if MODE == "create"
  load_block("004:284")
  print_variables(:task)
  exit
end

module Microservices
  module StepHandlers
    class SetupBillingProfileHandler < TaskerCore::StepHandler::Base
      def call(context)
        plan = context.get_dependency_field("create_user_account", "plan")
        success(result: { billing_id: "bill_1", trial_days: plan == "pro" ? 14 : 0 })
      end
    end

    class InitializePreferencesHandler < TaskerCore::StepHandler::Base
      def call(_context)
        success(result: { preferences: { notifications: { email: true, push: true } } })
      end
    end

    class UpdateUserStatusHandler < TaskerCore::StepHandler::Base
      def call(context)
        success(result: { user_id: context.get_dependency_field("create_user_account", "user_id"), status: "active" })
      end
    end
  end
end

load_inside(Microservices::StepHandlers, "004:137")
load_inside(Microservices::StepHandlers, "004:229")
serve(templates: [block_text("004:41")])
