"""Sessions, policies of namespaces, API keys, and the audit log of teams."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tasker.errors import HttpHostNotAllowed, InvalidInput, NotAnApprover, NotFound, WrongStatus
from tasker.model import HttpCall, StepSpec, TemplateName
from tasker.store.protocol import Store
from tasker.teams.api_keys import generate_key, parse_key, verify_secret
from tasker.teams.model import NamespaceInfo, NamespacePolicy, NewApiKey
from tasker.testing.store_suite.approvals import (
    CHANGED,
    FREE,
    JAKE,
    MARCUS,
    POLICY,
    SARAH,
    approve_template,
    declare_policy,
    make_audit_note,
    propose_template,
    reject_template,
)
from tasker.testing.store_suite.factories import StoreTests, one_step_template
from tasker.testing.store_suite.subject import StoreUnderTest


class TestSessions(StoreTests):
    LONG = timedelta(hours=1)

    async def test_a_session_is_found_until_it_ends(self, store: Store) -> None:
        """It is found by its digest."""
        begun = await store.add_session("a" * 64, "0f3a", lifetime=self.LONG)

        assert begun == await store.find_session("a" * 64, idle=self.LONG)
        assert "0f3a" == begun.key_prefix
        assert self.LONG == begun.expires_at - begun.created_at
        assert await store.find_session("b" * 64, idle=self.LONG) is None

        await store.end_session("a" * 64)
        await store.end_session("a" * 64)  # a second time changes nothing

        assert await store.find_session("a" * 64, idle=self.LONG) is None

    async def test_a_session_ends_after_its_lifetime_or_when_idle(self, store: Store) -> None:
        """The earlier of the two ends it."""
        await store.add_session("a" * 64, "0f3a", lifetime=timedelta(0))
        await store.add_session("b" * 64, "0f3a", lifetime=self.LONG)

        assert await store.find_session("a" * 64, idle=self.LONG) is None
        assert await store.find_session("b" * 64, idle=timedelta(0)) is None

    async def test_a_session_in_use_is_not_idle(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """A use is recorded at most once a minute."""
        await store.add_session("a" * 64, "0f3a", lifetime=self.LONG)
        await subject.advance(timedelta(minutes=10))
        await store.touch_session("a" * 64)
        await subject.advance(timedelta(minutes=6))

        assert await store.find_session("a" * 64, idle=timedelta(minutes=7)) is not None
        assert await store.find_session("a" * 64, idle=timedelta(minutes=5)) is None


class TestPolicies(StoreTests):
    async def test_a_policy_is_read_as_it_was_declared(self, store: Store) -> None:
        """It is stored with the actor and the time."""
        stored = await store.put_policy(POLICY, make_audit_note("root"))

        assert POLICY == replace(stored, updated_by="", updated_at=None)
        assert "root" == stored.updated_by
        assert stored.updated_at is not None
        assert stored == await store.get_policy("suite")
        assert await store.get_policy("other") is None

    async def test_a_policy_replaces_the_previous_one(self, store: Store) -> None:
        """Omitted fields are reset."""
        await declare_policy(store)
        bare = NamespacePolicy(namespace="suite", owner_team="payments")

        stored = await store.put_policy(bare, make_audit_note("eve"))

        assert bare == replace(stored, updated_by="", updated_at=None)
        assert stored == await store.get_policy("suite")

    async def test_the_same_policy_again_changes_nothing(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """A policy file that is applied at each start adds no audit entries."""
        await declare_policy(store)
        first = await store.get_policy("suite")
        again = await store.put_policy(POLICY, make_audit_note("eve"))

        assert first == again
        assert ["put_policy"] == [event.action for event in await store.list_team_audit()]

    @pytest.mark.parametrize(
        ("path", "wrong"),
        [
            ("$.namespace", {"namespace": "no name"}),
            ("$.contact_email", {"contact_email": "nobody"}),
            ("$.approvers[1]", {"approvers": (SARAH, "marcus")}),
            ("$.requires_approval", {"approvers": ()}),
            ("$.description", {"description": "a\0b"}),
            ("$.http_hosts[0]", {"http_hosts": ("https://api.example.com",)}),
        ],
    )
    async def test_an_invalid_policy_is_rejected(
        self, store: Store, path: str, wrong: dict[str, object]
    ) -> None:
        """The error names the invalid part, and nothing is stored."""
        with pytest.raises(InvalidInput) as rejection:
            await store.put_policy(replace(POLICY, **wrong), make_audit_note("root"))  # type: ignore[arg-type]

        assert path == rejection.value.path
        assert ["default"] == [space.name for space in await store.list_namespaces()]
        assert [] == await store.list_team_audit()

    @pytest.mark.parametrize(
        ("host", "step"),
        [
            ("https://evil.example", "a"),
            ("https://api.example.com.evil.example/x", "b"),
            ("https://x.example.net", "c"),
        ],
    )
    async def test_a_template_may_call_only_hosts_of_the_policy(
        self, store: Store, host: str, step: str
    ) -> None:
        """If one template names another host, no template of the call is stored."""
        await declare_policy(store)
        call = StepSpec(name=step, http=HttpCall(url=host))
        other = replace(one_step_template(), name="other")

        with pytest.raises(HttpHostNotAllowed) as rejection:
            await store.register_templates(
                [other, replace(one_step_template(), steps=(call,))], registered_by=JAKE
            )

        assert (step, POLICY.http_hosts) == (rejection.value.step, rejection.value.allowed)
        assert [] == await store.list_template_versions()

    async def test_allowed_and_computed_hosts_are_accepted(self, store: Store) -> None:
        """A computed host is checked when the step runs."""
        await declare_policy(store)
        steps = tuple(
            StepSpec(name=f"s{no}", http=HttpCall(url=url))
            for no, url in enumerate(
                (
                    "https://api.example.com/x",
                    "http://api.example.com:81",
                    "https://x.example.net:8443/{input.x}",
                    "{input.url}",
                    "https://{input.host}/x",
                )
            )
        )

        registered = await propose_template(store, replace(one_step_template(), steps=steps))

        assert steps == registered.stored.template.steps
        assert ["tasker.http"] == [queue.handler for queue in await store.list_queues()]

    async def test_namespaces_with_a_policy_or_a_template_are_listed(self, store: Store) -> None:
        """The list includes `default` and the number of versions by status."""
        await propose_template(store, replace(one_step_template(), namespace="apples"))
        await propose_template(
            store, replace(one_step_template(), namespace="apples", version="2.0.0")
        )
        await propose_template(store, replace(one_step_template(), namespace="apples", name="two"))
        await declare_policy(store)
        await propose_template(store, one_step_template())
        await store.retire_template(TemplateName("apples", "two", "1.0.0"), make_audit_note("root"))

        apples, default, suite = await store.list_namespaces()

        assert ["apples", "default", "suite"] == [apples.name, default.name, suite.name]
        assert (1, 2, 0, 0, 1) == _count_versions_by_status(apples)
        assert (0, 0, 0, 0, 0) == _count_versions_by_status(default)
        assert (0, 0, 1, 0, 0) == _count_versions_by_status(suite)
        assert (None, None) == (apples.policy, default.policy)
        assert suite.policy == await store.get_policy("suite")


def _count_versions_by_status(space: NamespaceInfo) -> tuple[int, ...]:
    names = ("templates", "approved", "pending_review", "rejected", "retired")
    return tuple(getattr(space, name) for name in names)


class TestTeamAudit(StoreTests):
    async def test_every_action_is_reported_with_its_changes(self, store: Store) -> None:
        """Entries are listed newest first, with actor, reason, and the values before and after."""
        await declare_policy(store, FREE)
        await store.put_policy(POLICY, make_audit_note("root", "it is shared"))
        await propose_template(store, one_step_template())
        await reject_template(store, one_step_template())
        await propose_template(store, CHANGED)
        await approve_template(store, one_step_template())
        await store.retire_template(one_step_template().key, make_audit_note("root", "too old"))
        await store.restore_template(one_step_template().key, make_audit_note("root", "or not"))

        events = await store.list_team_audit(namespace="suite")

        name = "suite.one@1.0.0"
        assert [
            (name, "root", "restore_template", "or not", "retired", "approved"),
            (name, "root", "retire_template", "too old", "approved", "retired"),
            (name, SARAH, "approve_template", "fine", "pending_review", "approved"),
            (name, JAKE, "register_template", "", None, "pending_review"),
            (name, SARAH, "reject_template", "no fraud check", "pending_review", "rejected"),
            (name, JAKE, "register_template", "", None, "pending_review"),
        ] == [
            (each.subject, each.actor, each.action, each.reason, each.before, each.after)
            for each in events[:-2]
        ]
        changed, declared = events[-2:]
        assert ("suite", "root", "put_policy", "it is shared") == (
            changed.subject,
            changed.actor,
            changed.action,
            changed.reason,
        )
        assert (None, changed.before) == (declared.before, declared.after)
        assert {
            "owner_team": "platform",
            "contact_email": "platform-team@growthcorp.com",
            "description": "Cross-team workflows and utilities",
            "requires_approval": True,
            "approvers": [SARAH, MARCUS],
            "http_hosts": ["api.example.com", "*.example.net:8443"],
        } == changed.after
        assert [event.id for event in events] == sorted((each.id for each in events), reverse=True)

    async def test_rejected_actions_are_not_audited(self, store: Store) -> None:
        """Actions without effect are not audited either."""
        await declare_policy(store)
        await propose_template(store, one_step_template())
        await propose_template(store, one_step_template())
        with pytest.raises(NotAnApprover):
            await approve_template(store, one_step_template(), by=JAKE)

        assert ["register_template", "put_policy"] == [
            event.action for event in await store.list_team_audit()
        ]

    async def test_the_audit_of_a_namespace_is_read_in_pages(self, store: Store) -> None:
        """Each page continues after the last entry of the previous one."""
        for space in ("mine", "theirs"):
            for version in range(5):
                await propose_template(
                    store, replace(one_step_template(), namespace=space, version=f"{version}.0.0")
                )

        first = await store.list_team_audit(namespace="mine", limit=3)
        rest = await store.list_team_audit(namespace="mine", limit=3, after=first[-1].id)

        assert [f"mine.one@{version}.0.0" for version in (4, 3, 2, 1, 0)] == [
            event.subject for event in [*first, *rest]
        ]
        assert 10 == len(await store.list_team_audit())
        assert first == await store.list_team_audit(visible={"mine", "nobodys"}, limit=3)
        assert [] == await store.list_team_audit(visible=())


class TestApiKeys(StoreTests):
    async def test_a_key_is_found_by_its_prefix(self, store: Store) -> None:
        """It is returned with its permissions and the digest of its secret."""
        key = generate_key()
        expires_at = datetime(2040, 1, 1, tzinfo=UTC)

        added = await store.add_api_key(
            _make_api_key(key.prefix, key.digest, expires_at), make_audit_note("root")
        )
        stored = await store.find_api_key(key.prefix)

        assert stored is not None
        assert added == stored.key
        assert ("ci", ("tasks:create",), ("payments", "shared"), ("operator",), "root") == (
            added.name,
            added.scopes,
            added.namespaces,
            added.roles,
            added.created_by,
        )
        assert ("payments.*", "mail") == added.handlers
        assert (expires_at, None, None) == (
            added.expires_at,
            added.revoked_at,
            added.last_used_at,
        )
        parts = parse_key(key.text)
        assert parts is not None
        assert verify_secret(parts.secret, stored.digest)
        assert await store.find_api_key("0" * 12) is None

    async def test_a_revoked_key_is_reported_as_revoked(self, store: Store) -> None:
        """It is still found and listed, and cannot be restored."""
        key = generate_key()
        added = await store.add_api_key(
            _make_api_key(key.prefix, key.digest), make_audit_note("root")
        )

        revoked = await store.revoke_api_key(key.prefix, make_audit_note("eve", "it leaked"))

        assert revoked.revoked_at is not None
        assert (True, False) == (
            added.is_active(added.created_at),
            revoked.is_active(revoked.revoked_at),
        )
        assert [revoked] == await store.list_api_keys()
        with pytest.raises(WrongStatus, match="revoked"):
            await store.revoke_api_key(key.prefix, make_audit_note("eve"))
        with pytest.raises(NotFound):
            await store.revoke_api_key("0" * 12, make_audit_note("eve"))

    async def test_keys_are_listed_newest_first(self, store: Store) -> None:
        """Each key is listed once."""
        keys = [generate_key() for _ in range(3)]
        for key in keys:
            await store.add_api_key(_make_api_key(key.prefix, key.digest), make_audit_note("root"))

        listed = [key.prefix for key in await store.list_api_keys()]

        assert [key.prefix for key in reversed(keys)] == listed

    async def test_the_use_of_a_key_is_recorded_once_a_minute(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """This limits the writes that a busy key causes."""
        key = generate_key()
        await store.add_api_key(_make_api_key(key.prefix, key.digest), make_audit_note("root"))

        async def touch_and_read_last_use() -> timedelta:
            await store.touch_api_key(key.prefix)
            (stored,) = await store.list_api_keys()
            assert stored.last_used_at is not None
            return stored.last_used_at - stored.created_at

        first = await touch_and_read_last_use()
        assert first == await touch_and_read_last_use()
        await subject.advance(timedelta(seconds=61))
        assert timedelta(seconds=60) < await touch_and_read_last_use()
        await store.touch_api_key("0" * 12)

    async def test_the_audit_contains_no_secrets_of_keys(self, store: Store) -> None:
        """The entries belong to no namespace."""
        key = generate_key()
        await store.add_api_key(_make_api_key(key.prefix, key.digest), make_audit_note("root"))
        await store.revoke_api_key(key.prefix, make_audit_note("eve", "it leaked"))

        revoked, created = await store.list_team_audit()

        subject = f"key {key.prefix}"
        assert ("create_api_key", subject, "root", None) == (
            created.action,
            created.subject,
            created.actor,
            created.before,
        )
        assert ("revoke_api_key", "it leaked", None) == (
            revoked.action,
            revoked.reason,
            revoked.after,
        )
        assert created.after == revoked.before
        assert key.digest not in str([revoked, created])
        assert [] == await store.list_team_audit(namespace="payments")

    @pytest.mark.parametrize(
        ("path", "wrong"),
        [
            ("$.name", {"name": " "}),
            ("$.scopes", {"scopes": ("tasks:\0",)}),
            ("$.scopes", {"scopes": ("tasks.create",)}),
            ("$.namespaces", {"namespaces": ("a b",)}),
            ("$.expires_at", {"expires_at": datetime(2040, 1, 1)}),
        ],
    )
    async def test_an_invalid_key_is_rejected(
        self, store: Store, path: str, wrong: dict[str, object]
    ) -> None:
        """The error names the invalid part."""
        key = generate_key()
        with pytest.raises(InvalidInput) as rejection:
            await store.add_api_key(
                replace(_make_api_key(key.prefix, key.digest), **wrong),  # type: ignore[arg-type]
                make_audit_note("root"),
            )

        assert path == rejection.value.path
        assert [] == await store.list_api_keys()


def _make_api_key(prefix: str, digest: str, expires_at: datetime | None = None) -> NewApiKey:
    return NewApiKey(
        name="ci",
        prefix=prefix,
        digest=digest,
        scopes=("tasks:create",),
        namespaces=("payments", "shared"),
        roles=("operator",),
        handlers=("payments.*", "mail"),
        expires_at=expires_at,
    )
