"""Errors in the form that clients of the Rust core expect."""

from collections.abc import Mapping

CORE = "/compat/core"

_CODES: Mapping[int, str] = {
    400: "BAD_REQUEST",
    401: "AUTHENTICATION_FAILED",
    403: "AUTHORIZATION_FAILED",
    404: "NOT_FOUND",
    408: "TIMEOUT",
    409: "CONFLICT",
    503: "SERVICE_UNAVAILABLE",
    504: "TIMEOUT",
}


def core_error_fields(path: str, status: int, detail: str) -> dict[str, dict[str, str]]:
    """Return the additional members of a problem for a request to the core's routes."""
    if not path.startswith(f"{CORE}/"):
        return {}
    default = "INTERNAL_ERROR" if status >= 500 else "BAD_REQUEST"
    return {"error": {"code": _CODES.get(status, default), "message": detail}}
