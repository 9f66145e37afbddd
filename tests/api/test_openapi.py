"""The API's description is true: of every route, every answer, every refusal."""

import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from typing import Any

from fastapi.routing import APIRoute

from tasker.api import create_app
from tasker.api.app import ROUTES
from tasker.teams.permissions import PERMISSIONS

OPEN = {
    *("/health", "/health/live", "/health/ready", "/live", "/ready"),
    *("/v1/session", "/v1/session/oidc/start", "/v1/session/oidc/callback"),
}
RECEIVES = ("/v1/hooks/{namespace}/{name}", "post")
BY_TOKEN = {("/v1/complete/{token}", "post"), RECEIVES}
"""Requests that have a token or a signature instead of a credential: a wrong one is not found."""


@cache
def spec() -> dict[str, Any]:
    """Return the description, which takes seconds to build."""
    return create_app("sqlite::memory:").openapi()


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in spec()["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def test_the_description_is_valid_openapi_3_1() -> None:
    assert "3.1.0" == spec()["openapi"]


def test_every_route_is_described() -> None:
    described = {(path, method.upper()) for path, method, _ in operations()}

    served = {
        (route.path, method)
        for group in ROUTES
        for route in group.router.routes
        if isinstance(route, APIRoute)
        for method in route.methods or ()
    }
    assert served == described


def test_every_operation_has_a_unique_id_and_a_summary() -> None:
    names = [operation["operationId"] for _, _, operation in operations()]

    assert len(names) == len(set(names))
    for _, _, operation in operations():
        assert operation["summary"]
        assert operation["tags"]


def test_every_route_that_is_not_public_needs_an_existing_permission() -> None:
    known = {str(permission) for permission in PERMISSIONS}

    for path, method, operation in operations():
        needed = operation.get("x-permissions", [])
        public = path in OPEN or (path, method) in BY_TOKEN
        assert bool(needed) == (not public), (method, path)
        assert set(needed) <= known


def test_refusals_are_described_as_problems() -> None:
    """Those of every route, and of routes with bodies all problems of bodies.

    Providers choose the media type of their requests.
    """
    for path, method, operation in operations():
        responses = operation["responses"]
        assert {"500", "503", "504"} <= set(responses), (method, path)
        if (path, method) in BY_TOKEN:
            assert {"404", "429"} == set(responses) & {"401", "403", "404", "429"}, (method, path)
        elif path not in OPEN:
            assert {"401", "403", "429"} <= set(responses), (method, path)
        if "requestBody" in operation:
            assert {"400", "408", "413"} <= set(responses), (method, path)
            assert ("415" in responses) == ((path, method) != RECEIVES), (method, path)
        for status, response in responses.items():
            assert "X-Correlation-Id" in response["headers"]
            if int(status) >= 400:
                assert ["application/problem+json"] == list(response["content"])


def test_headers_are_described() -> None:
    """Headers of requests and responses are described."""
    create = spec()["paths"]["/v1/tasks"]["post"]
    sent = {one["name"] for one in create["parameters"] if one["in"] == "header"}

    assert {"Idempotency-Key", "X-Correlation-Id", "traceparent"} == sent
    assert {"Location", "X-Correlation-Id"} == set(create["responses"]["201"]["headers"])
    assert "Retry-After" in create["responses"]["503"]["headers"]
    events = spec()["paths"]["/v1/tasks/{task_id}/stream"]["get"]["parameters"]
    assert "Last-Event-ID" in {one["name"] for one in events}


def test_bodies_are_closed_and_their_fields_explained() -> None:
    schemas = spec()["components"]["schemas"]

    for name, schema in schemas.items():
        if name.endswith("Body") and "properties" in schema:
            assert schema["additionalProperties"] is False, name
    assert (
        "repeated requests"
        in schemas["NewTaskBody"]["properties"]["idempotency_key"]["description"]
    )


def test_responses_require_all_fields_including_inherited_ones() -> None:
    schemas = spec()["components"]["schemas"]

    for name in ("TaskView", "Step", "StepOverview", "TemplateVersion", "Attempt", "StepCounts"):
        schema = schemas[name]
        assert set(schema["properties"]) == set(schema["required"]), name
        assert not any("default" in field for field in schema["properties"].values()), name
    for name, field in (("TaskView", "deadline"), ("Step", "lost_attempts"), ("Attempt", "ran")):
        assert schemas[name]["properties"][field]["description"], name
    assert "null unless" in schemas["Step"]["properties"]["no_worker_reason"]["description"]


def test_response_models_are_built_only_for_the_description() -> None:
    """Building them takes longer than everything else at the start of a server."""
    served = [route for group in ROUTES for route in group.router.routes]
    described = [route for group in ROUTES for route in group.documented_routes()]

    assert {None} == {route.response_field for route in served if isinstance(route, APIRoute)}
    assert len(served) == len(described)
    assert any(route.response_field for route in described if isinstance(route, APIRoute))


def test_a_server_without_tokens_does_not_import_cryptography() -> None:
    code = """
import sys
from tasker.api import create_app
create_app("sqlite::memory:")
print(sorted({"cryptography", "httpx", "jwt", "rich", "schemathesis"} & {*sys.modules}))
"""
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert "[]" == output.stdout.strip()
