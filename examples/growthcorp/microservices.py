"""User registration at four services: one step fans out to two, which come together again.

No retry loop, no circuit breaker, no wait for two: the template says what waits for what,
and each step says what it needs.
"""

import re
import secrets
from typing import Any

from tasker import Context, PermanentError, StepHandler, handler

from .services import accepted, ask, ask_async, now

EMAIL = re.compile(r"\A[^@\s]+@[^@\s]+\.[^@\s]+\Z")
BLOCKED_DOMAINS = ("tempmail.com", "throwaway.email", "mailinator.com")


@handler("Microservices::StepHandlers::CreateUserAccountHandler")
class CreateUserAccountHandler(StepHandler):
    """Creates the account; what is wrong with the address stays wrong."""

    def call(self, context: Context) -> dict[str, Any]:
        given = context.get_input("user_info")
        user_info = given if isinstance(given, dict) else {}
        email = self._checked(user_info.get("email"))
        plan = user_info.get("plan") or "free"
        account = {"email": email, "name": user_info.get("name"), "plan": plan}
        reply = ask("POST", "/users", account, key=context.idempotency_key)
        if reply.status == 409:
            raise PermanentError(f"{email} has an account already", code="EMAIL_TAKEN")
        created = accepted(reply, "user service")
        return {
            "user_id": created["user_id"],
            **account,
            "status": "created",
            "email_verified": False,
            "verification_token": secrets.token_urlsafe(32),
            "created_at": created["created_at"],
        }

    def _checked(self, email: object) -> str:
        if not email:
            raise PermanentError("Email address is required", code="MISSING_EMAIL")
        if not isinstance(email, str) or not EMAIL.match(email):
            raise PermanentError(f"Invalid email format: {email}", code="INVALID_EMAIL")
        domain = email.rpartition("@")[2].lower()
        if domain in BLOCKED_DOMAINS:
            raise PermanentError(
                f"Disposable email addresses are not allowed: {domain}",
                code="BLOCKED_EMAIL_DOMAIN",
            )
        return email.lower()


@handler("Microservices::StepHandlers::SetupBillingProfileHandler")
async def setup_billing_profile(
    create_user_account: dict[str, Any], ctx: Context
) -> dict[str, Any]:
    """Give the user a billing profile: the left side of the diamond."""
    wanted = {"user_id": create_user_account["user_id"], "plan": create_user_account["plan"]}
    reply = await ask_async("POST", "/billing/profiles", wanted, key=ctx.idempotency_key)
    profile = accepted(reply, "billing service")
    return {**wanted, **profile, "status": "active"}


@handler("Microservices::StepHandlers::InitializePreferencesHandler")
async def initialize_preferences(
    create_user_account: dict[str, Any], ctx: Context
) -> dict[str, Any]:
    """Give the user the preferences of the plan: the right side of the diamond."""
    user_id, paying = create_user_account["user_id"], create_user_account["plan"] != "free"
    wanted = {"language": "en", "notifications": {"email": True, "push": paying, "sms": False}}
    reply = await ask_async("PUT", f"/preferences/{user_id}", wanted, key=ctx.idempotency_key)
    saved = accepted(reply, "preferences service")
    return {"user_id": user_id, "preferences": saved["preferences"], "status": "initialized"}


@handler("Microservices::StepHandlers::SendWelcomeSequenceHandler")
class SendWelcomeSequenceHandler(StepHandler):
    """Welcomes the user, as plan, trial and preferences say: where the branches meet.

    It reads the results of three steps; `create_user_account` is not its parent, only an
    ancestor.
    """

    async def call(self, context: Context) -> dict[str, Any]:
        account = context.get_dependency_result("create_user_account")
        billing = context.get_dependency_result("setup_billing_profile")
        preferences = context.get_dependency_result("initialize_preferences")
        if account is None or billing is None or preferences is None:
            raise PermanentError(
                "Upstream data not available for welcome sequence", code="MISSING_DEPENDENCIES"
            )
        messages = self.messages(account, billing, preferences)
        reply = await ask_async(
            "POST", "/notifications", {"messages": messages}, key=context.idempotency_key
        )
        accepted(reply, "notification service")
        return {
            "user_id": account["user_id"],
            "channels_used": list(dict.fromkeys(message["channel"] for message in messages)),
            "messages_sent": len(messages),
            "status": "sent",
            "sent_at": now(),
        }

    def messages(
        self, account: dict[str, Any], billing: dict[str, Any], preferences: dict[str, Any]
    ) -> list[dict[str, str]]:
        """Return the messages for this user."""
        email, plan = account["email"], account["plan"]
        welcome = f"Welcome to Tasker, {account['name']}!"
        messages = [{"channel": "email", "type": "welcome", "to": email, "text": welcome}]
        if billing.get("trial_days", 0) > 0:
            trial = f"Your {plan.capitalize()} trial has started"
            messages.append(
                {"channel": "email", "type": "trial_started", "to": email, "text": trial}
            )
        if preferences.get("preferences", {}).get("notifications", {}).get("push") is True:
            ready = f"Your {plan} account is ready. Let's get started!"
            messages.append({"channel": "push", "type": "welcome", "to": email, "text": ready})
        return messages


@handler("Microservices::StepHandlers::UpdateUserStatusHandler")
def update_user_status(create_user_account: dict[str, Any], ctx: Context) -> dict[str, Any]:
    """Open the account; to open it twice is to open it once."""
    user_id = create_user_account["user_id"]
    reply = ask("PUT", f"/users/{user_id}", {"status": "active"}, key=ctx.idempotency_key)
    updated = accepted(reply, "user service")
    return {"user_id": user_id, "status": "active", "activated_at": updated["updated_at"]}
