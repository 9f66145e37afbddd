"""From an empty directory to teams that call a server: the commands, end to end."""

import signal

import httpx
from tests.api.auth.scene import AUDIENCE, ISSUER, public_pem, rsa_key, token
from tests.cli.conftest import Here, project, tasker, words

__all__ = ["project", "tasker"]  # the fixtures

SETTINGS = f"""
    [server]
    host = "0.0.0.0"
    port = 0

    [auth]
    enabled = true
    cache = 0
    jwt_public_key_file = "provider.pem"
    issuer = "{ISSUER}"
    audience = "{AUDIENCE}"

    [auth.roles]
    support = ["tasks:read", "tasks:list", "steps:*"]
"""


def test_a_team_has_access_to_its_namespace_only(tasker: Here) -> None:
    """With a key created, used and revoked on the command line."""
    project = tasker.project
    project.write("tasker.toml", SETTINGS)
    project.write("provider.pem", public_pem(rsa_key()))
    make = ("key", "create", "--namespace", "shop")
    team = tasker(*make, "shop team", "--role", "operator")
    support = tasker(*make, "support", "--role", "support", "--permission", "tasks:cancel")
    other = tasker("key", "create", "others", "--role", "admin", "--namespace", "orders")
    assert [0, 0, 0] == [made.code for made in (team, support, other)]

    with project.starting("server", "--templates", "sell.yaml", "--log-format", "json") as server:
        url = server.until('"server_started"').partition('"url":')[2].split('"')[1]
        local = url.replace("0.0.0.0", "127.0.0.1")
        without_key = tasker("task", "list", "--server", local)
        assert 5 == without_key.code
        assert "Set TASKER_API_KEY to a valid API key" in words(without_key.err)

        with httpx.Client(base_url=local, timeout=60) as caller:

            def ask(credential: str, method: str, path: str, body: object = None) -> int:
                headers = {"Authorization": f"Bearer {credential.strip()}"}
                return caller.request(method, path, json=body, headers=headers).status_code

            sell = {"name": "shop.sell", "context": {"sku": "mug"}}
            assert 401 == caller.get("/v1/tasks").status_code
            assert 201 == ask(team.out, "POST", "/v1/tasks", sell)
            assert 403 == ask(support.out, "POST", "/v1/tasks", sell)
            assert 200 == ask(support.out, "GET", "/v1/tasks")
            assert 403 == ask(other.out, "POST", "/v1/tasks", sell)
            assert 404 == ask(other.out, "GET", "/tasker/handlers/shop")
            assert 200 == ask(token(namespaces=["shop"]), "GET", "/tasker/handlers/shop")

            revoked = tasker("key", "revoke", team.out.strip(), "--reason", "it leaked")
            assert (0, 401) == (revoked.code, ask(team.out, "POST", "/v1/tasks", sell))
        server.send(signal.SIGTERM)
        assert 0 == server.end()

    log = "".join(server.output)
    assert '"not_authenticated"' in log
    for made in (team, support, other):
        assert made.out.strip().rsplit("_", 1)[1] not in log
