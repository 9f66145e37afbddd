"""Any template, for hypothesis to choose from."""

import string
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

from hypothesis import strategies as st

from tasker.model import (
    ApprovalSpec,
    Backoff,
    HttpCall,
    HttpStatusClassification,
    Json,
    JsonObject,
    Limit,
    Retry,
    SettlementDurability,
    StepOverride,
    StepSpec,
    Template,
    TimeoutAction,
)

FIRST = string.ascii_letters + "_"
names = st.builds(
    str.__add__, st.sampled_from(FIRST), st.text(FIRST + string.digits + "-", max_size=12)
).filter(lambda name: name != "ALL")
namespaces = names.map(lambda name: name.replace("-", "_"))
numbers = st.integers(0, 999)
versions = st.builds(
    "{}.{}.{}{}{}".format,
    numbers,
    numbers,
    numbers,
    st.sampled_from(["", "-rc.1", "-alpha", "-0.a-b"]),
    st.sampled_from(["", "+build.5"]),
)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
odd = """yes No on 0123 1_000 1e5 0o17 .5 null ~ 22:30 << - 2024-05-01 true 1.0 # { *a é 😀"""
words = texts | st.sampled_from([*odd.split(), "", "a: b", "# c", "a\nb", " a ", "\u2028"])
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | words
)
values: st.SearchStrategy[Json] = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)
objects: st.SearchStrategy[JsonObject] = st.dictionaries(words, values, max_size=3)
delays = st.timedeltas(timedelta(0), timedelta(days=30))
lengths = st.timedeltas(timedelta(microseconds=1), timedelta(days=3650))
MONTH = timedelta(days=30)
schemas: st.SearchStrategy[JsonObject] = st.fixed_dictionaries(
    {},
    optional={
        "type": st.just("object"),
        "required": st.lists(words, unique=True, max_size=2),
        "properties": st.dictionaries(
            words, st.fixed_dictionaries({}, optional={"default": values}), max_size=2
        ),
    },
)
callables = st.none() | st.lists(names, min_size=1, max_size=3).map(".".join)


@st.composite
def retries(draw: st.DrawFn) -> Retry:
    first, most = sorted([draw(delays), draw(delays)])
    return Retry(
        retryable=draw(st.booleans()),
        max_attempts=draw(st.integers(1, 1000)),
        backoff=draw(st.sampled_from(Backoff)),
        initial_delay=first,
        max_delay=most,
        jitter=draw(st.floats(0, 1)),
        retry_on=draw(st.sampled_from([(), ("HTTP_404", "shop.errors.Declined")])),
        give_up_on=draw(st.sampled_from([(), ("ValueError",)])),
    )


overrides = st.builds(
    StepOverride,
    config=st.none() | objects,
    retry=st.none() | retries(),
    timeout=st.none() | lengths,
)


statuses = st.integers(100, 599)
ranges = st.lists(
    st.tuples(statuses, statuses).map(lambda pair: (min(pair), max(pair))), max_size=2
)
plain_words = words.filter(lambda text: not set("{}") & set(text))
http_calls = st.one_of(
    st.builds(
        HttpCall,
        url=st.sampled_from(
            ["https://api.example.com/x", "{input.url}", "http://{input.a}:8/{input.b}"]
        ),
        headers=st.dictionaries(
            st.sampled_from(["X-A", "Accept"]), st.sampled_from(["a", "b {input.c}"])
        ),
        timeout=lengths.filter(lambda length: length <= timedelta(minutes=10)),
        classify=st.builds(
            HttpStatusClassification,
            success=ranges.map(tuple),
            retryable=ranges.map(tuple),
            permanent=ranges.map(tuple),
        ),
    ),
    st.builds(
        HttpCall,
        url=st.just("https://api.example.com"),
        method=st.sampled_from(["POST", "PUT", "PATCH", "DELETE"]),
        body=st.one_of(
            plain_words.filter(bool), st.just({"a": [1, "{input.b}", None]}), st.just([])
        ),
    ),
)


approvals = st.sampled_from(
    [
        ApprovalSpec(),
        ApprovalSpec(
            form={"type": "object", "properties": {"ok": {"type": "boolean"}}},
            assignees=("user:{input.boss}", "role:x"),
            reject_when="not form.ok or input.n == 1",
        ),
        ApprovalSpec(
            timeout=timedelta(hours=8),
            on_timeout=TimeoutAction.SKIP,
            escalate_after=timedelta(minutes=5),
            escalate_to=("user:a",),
        ),
    ]
)
without_handler = st.one_of(
    st.fixed_dictionaries({"http": http_calls}), st.fixed_dictionaries({"approval": approvals})
)


@st.composite
def steps(draw: st.DrawFn) -> tuple[StepSpec, ...]:
    called = draw(st.lists(names, min_size=1, max_size=5, unique=True))
    specs = [
        StepSpec(
            name=name,
            description=draw(words),
            callable=draw(callables),
            method=draw(st.none() | namespaces),
            config=draw(objects),
            dependencies=tuple(draw(st.lists(st.sampled_from(called[:no]), unique=True)))
            if no
            else (),
            retry=draw(st.just(Retry()) | retries()),
            timeout=draw(st.none() | lengths),
            queue_timeout=draw(st.none() | lengths),
            heartbeat_timeout=draw(st.none() | lengths.filter(lambda length: length <= MONTH)),
            requires=draw(st.dictionaries(names, names, max_size=2)),
            handler_version=draw(st.sampled_from(["", "2.1.0", "^2", ">=2,<3"])),
            result_schema=draw(st.none() | schemas),
            dependent_system=draw(st.none() | words),
        )
        for no, name in enumerate(called)
    ]
    specs = [
        replace(
            spec, callable=None, method=None, config={}, handler_version="", **draw(without_handler)
        )
        if draw(st.integers(0, 3)) == 0
        else spec
        for spec in specs
    ]
    return tuple(draw(st.permutations(specs)))


@st.composite
def templates(draw: st.DrawFn) -> Template:
    specs = draw(steps())
    called = st.sampled_from([spec.name for spec in specs])
    environments: Mapping[str, Mapping[str, StepOverride]] = draw(
        st.dictionaries(names, st.dictionaries(called, overrides, max_size=3), max_size=2)
    )
    return Template(
        namespace=draw(namespaces),
        name=draw(names),
        version=draw(versions),
        description=draw(words),
        steps=specs,
        input_schema=draw(st.none() | schemas),
        deadline=draw(st.none() | lengths),
        title=draw(st.sampled_from(["", "Refund {input.ticket.id}", "{input.a} of {input.b}"])),
        attributes=draw(
            st.dictionaries(names, st.sampled_from(["input.a", "input.b.c"]), max_size=2)
        ),
        retention=draw(st.none() | lengths),
        priority=draw(st.integers(0, 4)),
        limits=draw(
            st.sampled_from([(), (Limit("a:{input.a}", concurrency=5), Limit("b", rate="3/m"))])
        ),
        durability=draw(st.sampled_from(SettlementDurability)),
        environments=environments,
        metadata=draw(objects.filter(lambda metadata: "system_dependencies" not in metadata)),
    )
