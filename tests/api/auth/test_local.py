"""Servers that ask nobody: where they listen, and whom they serve there."""

import httpx
import pytest

from tasker.api import create_app
from tasker.cli.commands.server import serve
from tasker.errors import InvalidSettings
from tasker.settings import ServerSettings, Settings
from tasker.store.protocol import Store

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "", "192.0.2.1", "tasker.example.com"])
async def test_a_server_without_authentication_listens_only_on_loopback(address: str) -> None:
    """Unless allowed explicitly; the error says how."""
    settings = Settings(server=ServerSettings(host=address))

    with pytest.raises(InvalidSettings, match=r"without authentication.*\[auth\].*--insecure"):
        await serve(settings)


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "127.0.0.1:8080"},
        {"Host": "localhost"},
        {"Host": "LOCALHOST:8080"},
        {"Host": "[::1]:8080"},
        {"Host": "tasker.localhost:8080"},
        {"Host": "127.0.0.1:8080", "Origin": "http://localhost:3000"},
        {"Host": "127.0.0.1:8080", "Origin": "https://board.example.com"},
        {"Host": "127.0.0.1:8080", "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "no-cors"},
        {"Host": "127.0.0.1:8080", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
    ],
)
async def test_local_programs_and_pages_are_served(store: Store, headers: dict[str, str]) -> None:
    """By any local host name; pages of allowed origins too."""
    assert 200 == (await _asked(store, headers)).status_code


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example.com:8080"},
        {"Host": "localhost.evil.example.com"},
        {"Host": "evillocalhost"},
        {"Host": "192.0.2.1"},
        {"Host": "[::1"},
        {"Host": ""},
        {"Host": "evil.example.com@localhost.evil.example.com"},
        {"Host": "127.0.0.1:8080", "Origin": "https://evil.example.com"},
        {"Host": "127.0.0.1:8080", "Origin": "null"},
        {"Host": "127.0.0.1:8080", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
        {"Host": "evil.example.com", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
        {"Host": "127.0.0.1:8080", "Origin": "https://board.example.com.evil.example.com"},
    ],
)
async def test_pages_of_other_sites_cannot_reach_a_local_server(
    store: Store, headers: dict[str, str]
) -> None:
    """Neither by DNS rebinding nor from a page of another site."""
    answer = await _asked(store, headers)

    assert (403, "forbidden") == (answer.status_code, answer.json()["code"])
    assert answer.headers["X-Correlation-Id"]


async def _asked(store: Store, headers: dict[str, str]) -> httpx.Response:
    settings = ServerSettings(cors_origins=("https://board.example.com",))
    transport = httpx.ASGITransport(create_app(store, settings=settings, local_only=True))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as caller:
        return await caller.get("/v1/tasks", headers=headers)
