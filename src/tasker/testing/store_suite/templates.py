"""Registering and finding templates."""

import asyncio
from datetime import timedelta

import pytest

from tasker.errors import NotFound, TaskRegistrationError
from tasker.model import (
    Backoff,
    Retry,
    StepOverride,
    StepSpec,
    Template,
    TemplateId,
    TemplateName,
)
from tasker.store.protocol import RegisterTemplateResult, Store
from tasker.testing.store_suite.factories import (
    ManualWorker,
    StoreTests,
    chain_template,
    create_task,
    make_template,
    one_step_template,
    register_template,
    statuses_by_name,
)

FULL = Template(
    namespace="payments",
    name="process_refund",
    version="2.1.0-rc.1",
    description='Sends it back: ünïcode, "quotes" and a \\ backslash',
    steps=(
        StepSpec(name="validate", description="first", config={"a": [1, {"b": None}]}),
        StepSpec(
            name="refund",
            callable="Payments.StepHandlers.Refund",
            method="refund",
            dependencies=("validate",),
            retry=Retry(
                max_attempts=7,
                backoff=Backoff.FIBONACCI,
                initial_delay=timedelta(milliseconds=250),
                max_delay=timedelta(minutes=5),
                jitter=0.25,
            ),
            timeout=timedelta(seconds=90),
            result_schema={"type": "object", "required": ["id"]},
            dependent_system="gateway",
        ),
    ),
    input_schema={"type": "object", "properties": {"amount": {"type": "integer"}}},
    deadline=timedelta(hours=6),
    environments={"test": {"refund": StepOverride(config={"url": "x"}, timeout=timedelta(1))}},
    metadata={"owner": "team", "tags": ["a", "b"]},
)
CHANGED = make_template("one", only="", extra="")


class TestTemplates(StoreTests):
    async def test_a_template_is_read_as_it_was_registered(self, store: Store) -> None:
        """It is found by its name and by its id."""
        registered = await store.register_template(FULL, registered_by="bob")

        assert FULL == registered.stored.template
        assert registered.stored == await store.get_template(FULL.key)
        assert registered.stored == await store.template_by_id(registered.stored.id)
        assert "bob" == registered.stored.registered_by

    async def test_registering_the_same_content_again_changes_nothing(self, store: Store) -> None:
        """The second registration returns the first version."""
        first = await store.register_template(one_step_template(), registered_by="bob")
        second = await store.register_template(one_step_template(), registered_by="eve")

        assert first.created
        assert RegisterTemplateResult(first.stored, created=False) == second

    async def test_different_content_under_a_version_is_rejected(self, store: Store) -> None:
        """The error names the template version and who registered it."""
        await store.register_template(one_step_template(), registered_by="bob")

        with pytest.raises(TaskRegistrationError) as rejection:
            await store.register_template(CHANGED, registered_by="eve")

        for part in ("suite", "one", "1.0.0", "bob"):
            assert part in str(rejection.value)
        assert one_step_template() == (await store.get_template(one_step_template().key)).template
        assert 1 == len(await store.list_approved_templates())

    async def test_versions_and_namespaces_are_separate_templates(self, store: Store) -> None:
        """Namespace, name and version together identify a template."""
        others = [
            make_template("one", "1.0.1", only="", extra=""),
            make_template("two", "1.0.0", only="", extra=""),
            Template(namespace="other", name="one", version="1.0.0", steps=CHANGED.steps),
        ]
        await register_template(store, one_step_template())

        created = [await store.register_template(each, registered_by="bob") for each in others]

        assert [True, True, True] == [registered.created for registered in created]
        assert ["1.0.0", "1.0.1"] == sorted(await store.list_approved_versions("suite", "one"))
        assert ["1.0.0"] == await store.list_approved_versions("other", "one")
        assert [] == await store.list_approved_versions("suite", "unknown")

    async def test_replacing_a_template_does_not_affect_existing_tasks(self, store: Store) -> None:
        """New tasks get the new content; the old content stays readable by its id."""
        old = await register_template(store, one_step_template())
        before = await create_task(store, old)

        replaced = await store.register_template(CHANGED, registered_by="eve", replace=True)
        after = await create_task(store, replaced.stored.id)

        assert replaced.created
        assert CHANGED == (await store.get_template(one_step_template().key)).template
        assert one_step_template() == (await store.template_by_id(old)).template
        assert {"only"} == set(await statuses_by_name(store, before))
        assert {"only", "extra"} == set(await statuses_by_name(store, after))
        worker = await ManualWorker.register(store)
        assert 3 == await worker.complete_all_due()

    async def test_replacing_with_the_same_content_changes_nothing(self, store: Store) -> None:
        """A development server that replaces templates at each start creates no new ones."""
        first = await store.register_template(one_step_template(), registered_by="bob")
        again = await store.register_template(
            one_step_template(), registered_by="bob", replace=True
        )

        assert RegisterTemplateResult(first.stored, created=False) == again

    async def test_replaced_templates_are_not_listed(self, store: Store) -> None:
        """Lists contain only templates from which new tasks can be created."""
        await register_template(store, one_step_template())
        await store.register_template(CHANGED, registered_by="eve", replace=True)

        assert [CHANGED] == [stored.template for stored in await store.list_approved_templates()]
        assert ["1.0.0"] == await store.list_approved_versions("suite", "one")

    async def test_replaced_content_can_become_current_again(self, store: Store) -> None:
        """It replaces the content that had replaced it."""
        await register_template(store, one_step_template())
        await store.register_template(CHANGED, registered_by="eve", replace=True)
        back = await store.register_template(one_step_template(), registered_by="bob", replace=True)

        assert back.created
        assert one_step_template() == (await store.get_template(one_step_template().key)).template

    async def test_lists_are_sorted_by_name(self, store: Store) -> None:
        """They are sorted by namespace and name, then by registration."""
        other = Template(
            namespace="another", name="z", version="1.0.0", steps=one_step_template().steps
        )
        for template in (
            chain_template(),
            make_template("b", "1.0.0", x=""),
            make_template("b", "0.9.0", x=""),
            other,
        ):
            await register_template(store, template)

        everything = [stored.template.full_name for stored in await store.list_approved_templates()]
        mine = [
            stored.template.full_name
            for stored in await store.list_approved_templates(namespace="suite")
        ]
        named = [
            stored.template.version for stored in await store.list_approved_templates(name="b")
        ]

        assert [
            "another.z@1.0.0",
            "suite.b@1.0.0",
            "suite.b@0.9.0",
            "suite.chain@1.0.0",
        ] == everything
        assert everything[1:] == mine
        assert ["1.0.0", "0.9.0"] == named

    async def test_an_unknown_template_is_not_found(self, store: Store) -> None:
        """The error contains the name or the id."""
        with pytest.raises(NotFound, match=r"suite\.none@3\.0\.0"):
            await store.get_template(TemplateName("suite", "none", "3.0.0"))
        with pytest.raises(NotFound, match="4711"):
            await store.template_by_id(TemplateId(4711))

    async def test_each_handler_of_a_namespace_has_a_queue(self, store: Store) -> None:
        """Templates with the same handler share its queue; replaced templates keep theirs."""
        await register_template(store, chain_template())
        await register_template(store, make_template("more", "1.0.0", c="", d="c"))
        await store.register_template(
            make_template("more", "1.0.0", e=""), registered_by="eve", replace=True
        )

        queues = await store.list_queues()

        assert ["a", "b", "c", "d", "e"] == sorted(queue.handler for queue in queues)
        assert {"suite"} == {queue.namespace for queue in queues}
        assert 5 * len(queues) == len({no for queue in queues for no in queue.ids})

    async def test_a_queue_has_an_id_for_each_priority(self, store: Store) -> None:
        """The ids are consecutive, and no other queue has them."""
        await register_template(store, make_template("pair", a="", b=""))
        await register_template(store, make_template("more", b="", c=""))

        queues = await store.list_queues()

        assert [list(range(queue.base, queue.base + 5)) for queue in queues] == [
            queue.ids for queue in queues
        ]
        assert 15 == len({no for queue in queues for no in queue.ids})
        assert {("", False)} == {(queue.requirement, queue.gated) for queue in queues}

    async def test_concurrent_registrations_of_the_same_content_create_one_version(
        self, stores: list[Store]
    ) -> None:
        """Processes that start together agree on one template."""
        results = await asyncio.gather(
            *(
                store.register_template(chain_template(), registered_by=f"process {number}")
                for number, store in enumerate(stores * 3)
            )
        )

        assert 1 == sum(registered.created for registered in results)
        assert 1 == len({registered.stored.id for registered in results})

    async def test_one_of_several_concurrent_registrations_wins(self, stores: list[Store]) -> None:
        """The others are rejected, and the complete content of the winner is stored."""
        contents = [make_template("race", **{f"step_{n}": ""}) for n in range(9)]

        results = await asyncio.gather(
            *(
                store.register_template(content, registered_by="suite")
                for store, content in zip(stores * 3, contents, strict=True)
            ),
            return_exceptions=True,
        )

        won = [each.stored for each in results if isinstance(each, RegisterTemplateResult)]
        assert 1 == len(won)
        assert 8 == sum(isinstance(each, TaskRegistrationError) for each in results)
        assert won == [await stores[0].get_template(contents[0].key)]

    async def test_concurrent_replacements_leave_one_current_version(
        self, stores: list[Store]
    ) -> None:
        """The last replacement is current."""
        contents = [make_template("race", **{f"step_{n}": ""}) for n in range(9)]

        await asyncio.gather(
            *(
                store.register_template(content, registered_by="suite", replace=True)
                for store, content in zip(stores * 3, contents, strict=True)
            )
        )

        current = await stores[0].list_approved_templates()
        assert 1 == len(current)
        assert current[0].template in contents
