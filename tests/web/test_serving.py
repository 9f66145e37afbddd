"""The web UI as the server sends it: its page, its files, and the addresses that lead there."""

import gzip
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path

import httpx
import pytest

from tasker import open_store
from tasker.api import create_app
from tasker.settings import ServerSettings
from tasker.web import add_web_ui, assets
from tasker.web.assets import find_asset

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).resolve().parents[2]
STATIC = ROOT / "src" / "tasker" / "web" / "static"


@asynccontextmanager
async def browser(**settings: object) -> AsyncIterator[httpx.AsyncClient]:
    """Return a client of a server with the web UI."""
    own = ServerSettings.model_validate(settings)
    async with open_store("sqlite::memory:") as store:
        app = create_app(store, settings=own)
        add_web_ui(app, own)
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            yield client


@pytest.mark.parametrize("base", ["", "/tools/tasker"])
async def test_every_path_of_the_ui_serves_its_page(base: str) -> None:
    """Deep links too; what the page loads is below the same path."""
    async with browser(base_path=base) as client:
        for path in ("/ui/", "/ui/tasks?status=error", "/ui/tasks/01a2-b3"):
            page = await client.get(base + path)
            assert 200 == page.status_code
            assert "no-store" == page.headers["cache-control"]
            assert f'content="{base}"' in page.text
            loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
            for address in (each for each in loaded if not each.startswith("data:")):
                assert address.startswith(f"{base}/ui/assets/")
                assert 200 == (await client.get(address)).status_code


@pytest.mark.parametrize("base", ["", "/tools/tasker"])
@pytest.mark.parametrize(
    ("path", "leads_to"),
    [
        ("/", "/ui/"),
        ("/ui", "/ui/"),
        ("/admin/workflows", "/ui/workflows"),
        ("/admin/workflows/payments/process_refund", "/ui/workflows/payments/process_refund"),
        ("/admin/workflows?namespace=payments", "/ui/workflows?namespace=payments"),
    ],
)
async def test_the_root_redirects_to_the_ui(base: str, path: str, leads_to: str) -> None:
    """The founding documents print the paths."""
    async with browser(base_path=base) as client:
        answer = await client.get(base + path)

        assert (307, base + leads_to) == (answer.status_code, answer.headers["location"])


async def test_assets_are_immutable_and_compressed() -> None:
    """Their names change with their content."""
    name = next(file.name for file in (STATIC / "assets").iterdir() if file.suffix == ".js")
    async with browser() as client:
        plain = await client.get(f"/ui/assets/{name}", headers={"Accept-Encoding": "identity"})
        request = client.build_request("GET", f"/ui/assets/{name}")
        packed = await client.send(request, stream=True)
        raw = b"".join([part async for part in packed.aiter_raw()])

    assert "gzip" == packed.headers["content-encoding"]
    assert plain.content == gzip.decompress(raw)
    assert "public, max-age=31536000, immutable" == plain.headers["cache-control"]
    assert plain.headers["content-type"].startswith("text/javascript")


@pytest.mark.parametrize(
    "name",
    [
        "none.js",
        "..%2Findex.html",
        "%2e%2e/index.html",
        "x",
        "",
        "a/b.js",
        "main.js.map",
        "a" * 300 + ".js",
        "a%00b.js",
    ],
)
async def test_a_missing_asset_is_not_found(name: str) -> None:
    """A browser that took the page for a script would show nothing at all."""
    async with browser() as client:
        answer = await client.get(f"/ui/assets/{name}")

        assert 404 == answer.status_code
        assert answer.headers["content-type"].startswith("text/plain")


def test_nothing_is_kept_of_requests_for_missing_assets() -> None:
    """Anybody may send them, with names of 60 KB."""
    caches = [one for one in vars(assets).values() if hasattr(one, "cache_info")]
    find_asset(next((STATIC / "assets").iterdir()).name)
    before = [cache.cache_info().currsize for cache in caches]

    for number in range(10):
        assert find_asset(f"none-{number}.js") is None

    assert before == [cache.cache_info().currsize for cache in caches]
    assert before


async def test_the_page_loads_nothing_from_other_origins() -> None:
    """It runs no text as a script, and no other page can embed it."""
    async with browser() as client:
        page = await client.get("/ui/")

    policy = page.headers["content-security-policy"].split("; ")
    assert "default-src 'none'" in policy
    assert "require-trusted-types-for 'script'" in policy
    assert "frame-ancestors 'none'" in policy
    assert not [rule for rule in policy if "unsafe" in rule or "http" in rule or "*" in rule]
    assert not re.search(r"<script(?![^>]*src=)|\sstyle=|\son\w+=", page.text)


async def test_the_ui_can_be_disabled() -> None:
    """The API stays."""
    async with browser(ui=False) as client:
        assert 404 == (await client.get("/ui/")).status_code
        assert 200 == (await client.get("/v1/session")).status_code


async def test_the_api_is_served_below_the_base_path_and_without_it() -> None:
    """A proxy may remove it or not."""
    async with browser(base_path="/tools/tasker") as client:
        assert 200 == (await client.get("/tools/tasker/v1/session")).status_code
        assert 200 == (await client.get("/v1/session")).status_code
        assert 404 == (await client.get("/toolsx/v1/session")).status_code


def test_the_committed_build_matches_the_committed_sources() -> None:
    """The digests are compared; with Node, `make check` also compares a fresh build."""
    sources = ROOT / "ui"
    names = ["build.mjs", "package.json", "package-lock.json", "tsconfig.json"]
    names += [
        file.relative_to(sources).as_posix()
        for file in (sources / "src").rglob("*")
        if file.is_file()
    ]
    digest = sha256()
    for name in sorted(names):
        digest.update(name.encode() + b"\0" + (sources / name).read_bytes() + b"\0")

    assert digest.hexdigest() == (STATIC / "sources.sha256").read_text().strip(), "run make ui"


def test_the_lock_file_names_no_registry() -> None:
    """Addresses of funding pages aside."""
    lock = (ROOT / "ui" / "package-lock.json").read_text()
    lines = [line for line in lock.splitlines() if re.search(r"https?://", line)]

    assert [] == [line for line in lines if '"url":' not in line]
    assert '"resolved"' not in lock


def test_the_first_paint_loads_at_most_60_kb() -> None:
    """Compressed: the page, its styles, and the scripts that it names. All assets: 130 kB."""
    page = (STATIC / "index.html").read_text()
    sizes = {
        file.name: len(gzip.compress(file.read_bytes())) for file in (STATIC / "assets").iterdir()
    }
    first = sum(size for name, size in sizes.items() if name in page)

    print(f"first paint {first / 1024:.1f} kB gz, all {sum(sizes.values()) / 1024:.1f} kB gz")
    assert first <= 60 * 1024
    assert sum(sizes.values()) <= 130 * 1024
