"""What `tasker demo --serve` runs: a server with the web UI, workers, and a trickle of tasks."""

import asyncio
import random
import signal
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from rich.console import Console
from rich.text import Text

from tasker.api import create_app
from tasker.api.server import choose_development_port, run_server
from tasker.client import LocalClient
from tasker.engine import Worker
from tasker.settings import ServerSettings, WorkerSettings
from tasker.store.open import open_store
from tasker.store.protocol import Store
from tasker.teams.model import NamespacePolicy
from tasker.template.load import load_templates
from tasker.web import add_web_ui

from .__main__ import FOLDER, TAG, _reachable
from .gateways import Gateways, Trouble

EVERY_S = 2.0  #: between two new tasks, on average

TROUBLES = (
    Trouble(calls="POST /billing", about='"enterprise"', times=6),
    Trouble(calls="POST /billing", about='"pro"', times=40, retry_after=20),
    Trouble(calls="POST /payments", times=25, retry_after=3),
    Trouble(calls="POST /notifications", times=10, status=0, slow_s=1.6),
)
"""Billing is down for two registrations, which a retry then continues; the rest recovers."""

OWNERS = {
    "payments": ("Payments", "Moves money"),
    "customer_success": ("Customer Success", "Answers customers"),
    "microservices": ("Platform", "Runs the services that all teams share"),
    "inventory": ("Inventory", "Knows what is in stock"),
    "sales": ("Sales", "Fulfils orders"),
}


def submissions(seed: int | None = None) -> Iterator[tuple[str, Mapping[str, Any], str]]:
    """Yield templates, contexts and callers of tasks without end."""
    chance = random.Random(seed)
    number = 0
    while True:
        number += 1
        kind = number % 6
        if kind == 1:
            plan = "enterprise" if number <= 12 else chance.choice(["free", "pro", "enterprise"])
            name = chance.choice(["Ann", "Bob", "Eve", "Jake", "Kim", "Sarah"])
            user = {"email": f"user{number}@example.com", "name": name, "plan": plan}
            yield "microservices.user_registration", {"user_info": user}, "signup-web"
        elif kind == 3:
            refund = {
                "ticket_id": f"TICKET-{1000 + number}",
                "customer_id": f"cust_{number}",
                "refund_amount": round(chance.uniform(5, 120), 2),
                "refund_reason": "defective",
                "customer_email": "customer@example.com",
            }
            yield "customer_success.process_refund@1.3.0", refund, "agent.kim"
        elif kind == 5:
            line = {"sku": "DESK-1", "quantity": chance.randrange(1, 5), "cents": 45_000}
            order = {"order_id": f"A-{1000 + number}", "customer_id": "cust_7", "lines": [line]}
            yield "sales.fulfil_order", order, "web-shop"
        elif kind == 4:
            yield "inventory.process_return", {"return_id": f"RET-{1000 + number}"}, "warehouse"
        else:
            payment = {
                "payment_id": f"pay_{number}",
                "refund_amount": 750 if kind == 0 else chance.randrange(500, 20_000),
                "payment_method": "gift_card" if kind == 0 else "credit_card",
            }
            yield "payments.process_refund@2.1.0", payment, "checkout"


async def serve(url: str, console: Console, port: int | None = None) -> None:
    """Serve the web UI over a store, and create and run example tasks, until a signal.

    Args:
        url: The store.
        console: Where to print the address.
        port: Port to listen on; None: 3000, or any free one.

    Raises:
        InvalidSettings: The port is in use.
    """
    settings = ServerSettings(port=choose_development_port() if port is None else port)
    async with open_store(url, upgrade=True) as store:
        with Gateways(TROUBLES, pace_s=0.4, looks=4) as services, _reachable(services.url):
            worker = Worker(
                store,
                [FOLDER / "handlers.py", FOLDER / "inventory.py"],
                templates=load_templates([FOLDER / "templates"]),
                settings=WorkerSettings(environment="demo"),
                replace=True,
            )
            app = create_app(store, settings=settings, worker=worker, local_only=True)
            add_web_ui(app, settings)
            async with worker, run_server(app, settings) as server:
                await _declare_owners(LocalClient(store, actor="demo"))
                _print_addresses(console, server.url)
                await _submit_until_stopped(store)


async def _declare_owners(client: LocalClient) -> None:
    for namespace, (team, description) in OWNERS.items():
        mail = f"{namespace.replace('_', '-')}-team@growthcorp.com"
        await client.put_policy(
            NamespacePolicy(
                namespace=namespace, owner_team=team, contact_email=mail, description=description
            )
        )


async def _submit_until_stopped(store: Store) -> None:
    """Create tasks until SIGINT or SIGTERM."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for which in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError):  # on Windows
            loop.add_signal_handler(which, stopped.set)
    for template, context, caller in submissions():
        client = LocalClient(store, actor=caller)
        await client.create_task(template, context, tags=(TAG,))
        try:
            async with asyncio.timeout(random.uniform(0.5, 2 * EVERY_S - 0.5)):
                await stopped.wait()
                return
        except TimeoutError:
            continue


def _print_addresses(console: Console, url: str) -> None:
    console.print(Text("Tasker demo", style="bold").append("   Ctrl-C stops it", style="dim"))
    for path, about in (
        ("/ui/", "the web UI: a refund fails; see why, and retry what billing stopped"),
        ("/admin/workflows", "the registry of all teams"),
    ):
        text = Text(f"  {url.replace('127.0.0.1', 'localhost')}{path}", style="cyan")
        console.print(text.append(f"   {about}", style="dim"), soft_wrap=True)
