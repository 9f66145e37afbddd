"""The handler that a claimed step is for, of several that a worker registered."""

from typing import Any

import pytest
from tests.api.api_client import ApiClient
from tests.api.conftest import client_of
from tests.remote.remote_worker import ManualRemoteWorker

from tasker import codec
from tasker.model import JsonText, StepSpec, Template
from tasker.remote.registration import RemoteRegistration
from tasker.store.protocol import Store

pytestmark = pytest.mark.anyio

VERSIONS = [{"name": "charge", "versions": ["1.0.0"]}, {"name": "charge", "versions": ["2.0.0"]}]

ANYWHERE = {"name": "charge", "namespaces": ["*"]}


async def register_template(store: Store, *steps: StepSpec) -> None:
    template = Template(namespace="shop", name="charges", version="1.0.0", steps=steps)
    await store.register_template(template, registered_by="tests")


@pytest.mark.parametrize(
    ("handlers", "required", "index"),
    [
        (VERSIONS, "2.0.0", 1),
        (VERSIONS, "^1.0", 0),
        (VERSIONS, "", 0),
        (VERSIONS[::-1], "1.0.0", 1),
        ([{"name": "other"}, {"name": "charge", "versions": ["^2.1"]}], "2.4.0", 1),
        ([{"name": "charge", "namespaces": ["bank"]}, {"name": "charge"}], "", 1),
        ([{"name": "charge", "namespaces": ["bank", "shop"]}, {"name": "charge"}], "", 0),
        ([{"name": "charge", "namespaces": ["bank"]}, ANYWHERE], "", 1),
        (["charge", "shop.charge"], "", 1),
        (["charge", "shop::charge"], "", 1),
        ([{"name": "charge", "versions": ["2.0.0"]}, "shop.charge"], "2.0.0", 0),
    ],
)
async def test_a_step_names_the_handler_that_it_is_for(
    api: ApiClient, store: Store, handlers: list[Any], required: str, index: int
) -> None:
    await register_template(store, StepSpec(name="charge", handler_version=required))
    worker = await ManualRemoteWorker.register(api, handlers)
    await api.create("shop.charges")

    step = await worker.claim_one()

    assert ("charge", index) == (step["handler"], step["handler_index"])


async def test_every_response_with_steps_names_their_handlers(api: ApiClient, store: Store) -> None:
    await register_template(
        store,
        StepSpec(name="first", callable="charge", handler_version="2.0.0"),
        StepSpec(
            name="second", callable="charge", handler_version="1.0.0", dependencies=("first",)
        ),
    )
    worker = await ManualRemoteWorker.register(api, VERSIONS)
    await api.create("shop.charges")

    first = await worker.claim_one()
    [second] = (await worker.complete(first, most=1))["steps"]
    resumed = await worker.call("resume", held=[])

    assert (1, 0) == (first["handler_index"], second["handler_index"])
    assert [0] == [step["handler_index"] for step in resumed["steps"]]


async def test_a_step_whose_payload_is_read_separately_names_its_handler(
    api: ApiClient, store: Store
) -> None:
    await register_template(store, StepSpec(name="charge", handler_version="2.0.0"))
    worker = await ManualRemoteWorker.register(api, VERSIONS)
    for _ in range(6):
        await api.create("shop.charges", context={"text": "x" * 900_000})

    steps = await worker.claim()

    assert any(step.get("payload") for step in steps)
    assert [1] * 6 == [step["handler_index"] for step in steps]


async def test_another_server_names_the_same_handler(api: ApiClient, store: Store) -> None:
    await register_template(store, StepSpec(name="charge", handler_version="2.0.0"))
    handlers = [VERSIONS[0], {"name": "other"}, VERSIONS[1]]
    worker = await ManualRemoteWorker.register(api, handlers)
    await api.create("shop.charges")

    async with client_of(store) as other:
        step = await ManualRemoteWorker(other, worker.registered).claim_one()

    assert 2 == step["handler_index"]


def test_a_registration_without_places_leaves_the_handler_to_the_worker() -> None:
    """One that an earlier server stored lists the handlers in another order."""
    body = {"protocol": 1, "name": "w", "slots": 1, "namespaces": ["shop"], "handlers": VERSIONS}
    stored = codec.loads(RemoteRegistration.from_request(body).to_json())
    for handler in stored["handlers"]:
        del handler["place"]

    read = RemoteRegistration.from_json(JsonText(codec.dumps(stored)))

    chosen = read.find_handler("charge", "shop", "2.0.0")
    assert chosen is not None
    assert (("2.0.0",), None) == (chosen.versions, chosen.place)
