"""Handlers as classes."""

from tasker_core import PermanentError, StepContext, StepHandler, StepHandlerResult
from tasker_core.batch_processing import Batchable


class CreateAccount(StepHandler):
    """Creates an account."""

    handler_name = "create_account"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Create it."""
        email = context.get_input("email")
        if "@" not in (email or ""):
            return self.failure(
                "no address", "validation_error", retryable=False, error_code="NO_ADDRESS"
            )
        return self.success({"account": email.partition("@")[0]})


class SetPreferences(StepHandler):
    """Sets what the template says."""

    handler_name = "set_preferences"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Set them."""
        account = context.get_dependency_field("create_account", "account")
        return self.success({"account": account, "newsletter": context.get_config("newsletter")})


class Welcome(StepHandler):
    """Welcomes an account: a result of an ancestor that is no direct dependency."""

    handler_name = "welcome"

    async def call(self, context: StepContext) -> StepHandlerResult:
        """Welcome it."""
        return self.success({"sent": context.get_dependency_result("create_account")["account"]})


class CheckPayee(StepHandler):
    """Refuses unknown payees."""

    handler_name = "check_payee"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Check it."""
        if context.get_input("payee") == "unknown":
            raise PermanentError("unknown payee", error_code="UNKNOWN_PAYEE")
        return self.success({"payee": context.get_input("payee")})


class Transfer(StepHandler):
    """Transfers the amount."""

    handler_name = "transfer"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Transfer it."""
        payee = context.get_dependency_field("check_payee", "payee")
        return self.success({payee: context.get_input("cents")})


class Total(StepHandler, Batchable):
    """Adds the sums of all batches."""

    handler_name = "total"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Add them."""
        scenario = self.detect_aggregation_scenario(context.dependency_results, "split", "add")
        batches = scenario.batch_results.values()
        return self.success({"total": sum(batch["sum"] for batch in batches)})
