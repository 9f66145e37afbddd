"""A database of the release before, brought up to date with what it holds."""

import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tasker import codec
from tasker.model import NewTask, StepSpec, Template, TemplateStatus
from tasker.store import registry
from tasker.store.migrate import Migrations
from tasker.store.open import open_store
from tasker.store.postgres import schema
from tasker.store.postgres.address import Address

pytestmark = pytest.mark.anyio

ONE = Template(namespace="n", name="one", version="1.0.0", steps=(StepSpec(name="a"),))
CHANGED = Template(namespace="n", name="one", version="1.0.0", steps=(StepSpec(name="b"),))
_TEMPLATE = """
    insert into template (namespace, name, version, digest, document, sinks, registered_by,
                          registered_at, replaced_at)
    values ('n', 'one', '1.0.0', {0}, {1}, 1, 'me', {2}, {3})
"""


def rows() -> list[tuple[str, str, datetime | None]]:
    """Tell what the earlier release had stored: a template, and one that it had replaced."""
    return [
        (row.digest, row.document, replaced_at)
        for template, replaced_at in ((CHANGED, datetime(2030, 1, 1, tzinfo=UTC)), (ONE, None))
        for row in [registry.TemplateRow.of(template)]
    ]


def of_sqlite(path: Path) -> str:
    """Make a SQLite database as the first migration leaves it."""
    connection = sqlite3.connect(path)
    connection.executescript(Migrations("tasker.store.sqlite").scripts[1])
    for digest, document, replaced_at in rows():
        values = (digest, document, 0.0, replaced_at and replaced_at.timestamp())
        connection.execute(_TEMPLATE.format("?", "?", "?", "?"), values)
    connection.execute("pragma user_version = 1")
    connection.commit()
    connection.close()
    return f"sqlite:{path}"


async def of_postgres(url: str) -> str:
    """Make a PostgreSQL schema as the first migration leaves it."""
    connection = await Address.parse(url).connect()
    await connection.execute("create table schema_version (number int primary key)")
    await connection.execute(
        "alter table schema_version add applied_at timestamptz not null default now()"
    )
    await connection.execute(schema.MIGRATIONS.scripts[1])
    await connection.execute("insert into schema_version (number) values (1)")
    for digest, document, replaced_at in rows():
        statement = _TEMPLATE.format("$1", "$2::text::json", "now()", "$3")
        await connection.execute(statement, digest, document, replaced_at)
    await connection.close()
    return url


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> tuple[str, str]:
    if request.param == "postgres":
        return request.param, request.getfixturevalue("postgres_schema_url")
    return request.param, ""


async def test_what_an_earlier_release_stored_is_approved(
    database: tuple[str, str], tmp_path: Path
) -> None:
    """
    It takes tasks as before; what it had replaced stays so.
    """
    kind, url = database
    url = of_sqlite(tmp_path / "old.db") if kind == "sqlite" else await of_postgres(url)

    async with open_store(url, upgrade=True) as store:
        (current,) = await store.templates()
        (version,) = await store.template_statuses()
        task_id = codec.new_task_id()
        new = NewTask(
            id=task_id,
            template_id=current.id,
            context=codec.dumps({}),
            correlation_id=task_id,
        )
        created = await store.create_tasks([new])
        again = await store.register_template(ONE, registered_by="me")

    assert (ONE, TemplateStatus.APPROVED) == (current.template, current.status)
    assert (current.id, None) == (version.id, version.decided_by)
    assert [(task_id, True)] == list(created.tasks)
    assert not again.created
