"""The registration of a worker, and the queues that it may serve."""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from itertools import count
from typing import NamedTuple

from tasker import codec, versions
from tasker.codec import UNSTORABLE
from tasker.handlers.decorators import normalize_handler_name
from tasker.handlers.registry import EVERY_NAMESPACE
from tasker.limits import WORKER_LABELS
from tasker.model import ENGINE, HTTP_HANDLER, Json, JsonText, Queue, StepSpec, WorkerRequirement
from tasker.remote import fields
from tasker.remote.errors import InvalidRequest, UnsupportedProtocol

PROTOCOL = 1  #: the only version so far
MOST_SLOTS = 10_000
MOST_HANDLERS = 1_000
_NEEDS = ("ancestors", "parents", "none")


class RemoteHandler(NamedTuple):
    """A handler of a remote worker."""

    name: str
    needs: str | tuple[str, ...]
    """The steps whose results the handler receives: `ancestors`, `parents`, `none`, or a list of
    step names."""

    versions: tuple[str, ...]
    """Versions of the handler's code, or version ranges; steps without a requirement run on any
    version."""

    namespaces: frozenset[str]

    place: int | None
    """Index in the registration's `handlers`; None if an earlier release stored it."""

    def offers_version(self, required: str) -> bool:
        """Return whether it has a version that a step requires; "" requires none."""
        return not required or any(
            _version_satisfies(version, required) for version in self.versions
        )


class RemoteRegistration(NamedTuple):
    """The registration of a remote worker."""

    name: str
    slots: int
    sdk: str
    build: str
    labels: Mapping[str, str]
    environment: str | None
    handlers: Mapping[str, tuple[RemoteHandler, ...]]
    """Handlers by name. Handlers with the same name differ in their versions or namespaces."""

    credential: str = ""
    """The credential that registered the worker, such as `key 0f3a...`. It is not the credential's
    name, because names of credentials are not unique."""

    permitted: tuple[str, ...] = ()
    """Names or name patterns of the handlers that the credential may serve, such as `payments.*`;
    if empty, it may serve all handlers."""

    @classmethod
    def from_request(cls, body: fields.JsonBody) -> "RemoteRegistration":
        """Return the registration in a request. Raises InvalidRequest, UnsupportedProtocol."""
        protocol = body.get("protocol")
        if protocol != PROTOCOL:
            raise UnsupportedProtocol(
                f"this server supports version {PROTOCOL} of the worker protocol, not"
                f" {protocol!r:.20}",
                path="$.protocol",
            )
        registration = cls._parse_body(body, count())
        if not registration.handlers:
            raise InvalidRequest("`handlers` must contain at least one handler", path="$.handlers")
        for name, group in registration.handlers.items():
            if not all(handler.namespaces for handler in group):
                raise InvalidRequest(
                    f"handler {name!r} is not bound to any namespace: send `namespaces` of the"
                    " worker or of the handler (SDKs read them from templates and"
                    " TASKER_NAMESPACE; '*' means all that the credential may serve)",
                    path="$.namespaces",
                )
        return registration

    @classmethod
    def _parse_body(
        cls, body: fields.JsonBody, places: Iterable[int | None]
    ) -> "RemoteRegistration":
        namespaces = frozenset(fields.read_texts(body, "namespaces"))
        given = fields.read_list(body, "handlers", dict, most=MOST_HANDLERS)
        handlers = [
            _read_handler(each, namespaces, place)
            for each, place in zip(given, places, strict=False)
        ]
        environment = body.get("environment")
        return cls(
            fields.read_text(body, "name"),
            fields.read_integer(body, "slots", 1, MOST_SLOTS),
            fields.read_text(body, "sdk", ""),
            fields.read_text(body, "build", ""),
            _read_labels(body),
            fields.read_text(body, "environment") if environment is not None else None,
            _group_by_name(handlers),
        )

    @classmethod
    def from_json(cls, text: JsonText) -> "RemoteRegistration":
        """Read what `to_json` wrote."""
        body = codec.loads(text)
        stored = {"credential": body["credential"], "permitted": tuple(body["permitted"])}
        places = [each.get("place") for each in body["handlers"]]
        return cls._parse_body(body, places)._replace(**stored)

    def to_json(self) -> JsonText:
        """Return the registration as JSON text."""
        handlers: list[Json] = [
            {
                "name": each.name,
                "needs": each.needs if isinstance(each.needs, str) else list(each.needs),
                "versions": list(each.versions),
                "namespaces": sorted(each.namespaces),
                "place": each.place,
            }
            for group in self.handlers.values()
            for each in group
            if each.namespaces  # the others were rejected
        ]
        return codec.dumps({**self._asdict(), "protocol": PROTOCOL, "handlers": handlers})

    def restrict_to(
        self, namespaces: frozenset[str] | None, permitted: Iterable[str]
    ) -> "RemoteRegistration":
        """Return the registration for what a credential may serve.

        Args:
            namespaces: The namespaces; None: all.
            permitted: Names of handlers, such as `payments.*`; empty: all.
        """
        limited = self._replace(permitted=tuple(sorted(permitted)))
        handlers = {
            name: tuple(
                each._replace(
                    namespaces=frozenset(
                        namespace
                        for namespace in _intersect_namespaces(each.namespaces, namespaces)
                        if namespace == EVERY_NAMESPACE or limited.permits_handler(namespace, name)
                    )
                )
                for each in group
            )
            for name, group in self.handlers.items()
        }
        return limited._replace(handlers=handlers)

    def permits_handler(self, namespace: str, handler: str) -> bool:
        """Return whether the credential may serve a handler, by its short or its full name."""
        short = normalize_handler_name(handler).removeprefix(f"{namespace}.")
        return not self.permitted or any(
            fnmatchcase(name, normalize_handler_name(pattern))
            for pattern in self.permitted
            for name in (short, f"{namespace}.{short}")
        )

    def list_unbound_handlers(self) -> list[str]:
        """List the handlers that serve no namespace."""
        return [
            name
            for name, group in self.handlers.items()
            if not any(handler.namespaces for handler in group)
        ]

    def find_handler(self, name: str, namespace: str, version: str = "") -> RemoteHandler | None:
        """Return the handler that templates of a namespace call `name`, or None."""
        name = normalize_handler_name(name)
        for known_as in (f"{namespace}.{name}", name, name.removeprefix(f"{namespace}.")):
            for handler in self.handlers.get(known_as, ()):
                bound = not handler.namespaces.isdisjoint((namespace, EVERY_NAMESPACE))
                if bound and handler.offers_version(version):
                    return handler
        return None

    def serves_queue(self, queue: Queue) -> bool:
        """Return whether the worker runs the steps of a queue."""
        if queue.handler in (ENGINE, HTTP_HANDLER):
            return False
        if not self.permits_handler(queue.namespace, queue.handler):
            return False
        requirement = WorkerRequirement.parse(queue.requirement)
        handler = self.find_handler(queue.handler, queue.namespace, requirement.version)
        return handler is not None and set(requirement.labels) <= self.labels.items()

    def find_step_handler(self, spec: StepSpec, namespace: str) -> RemoteHandler | None:
        """Return the handler that runs a step of a template in a namespace, or None."""
        return self.find_handler(spec.handler, namespace, spec.handler_version)


def _group_by_name(handlers: Iterable[RemoteHandler]) -> dict[str, tuple[RemoteHandler, ...]]:
    groups: dict[str, tuple[RemoteHandler, ...]] = {}
    for handler in handlers:
        groups[handler.name] = (*groups.get(handler.name, ()), handler)
    return groups


def _read_labels(body: fields.JsonBody) -> Mapping[str, str]:
    labels = fields.read_object(body, "labels")
    if len(labels) > WORKER_LABELS:
        raise InvalidRequest(
            f"labels must have at most {WORKER_LABELS} entries, found {len(labels):,}",
            path="$.labels",
        )
    for name, value in labels.items():
        if not (name and isinstance(value, str)) or max(len(name), len(value)) > fields.NAME:
            raise InvalidRequest(
                f"the label {name[:50]!r} must have a name of 1 to {fields.NAME} characters and a"
                f" string of at most {fields.NAME} characters as its value",
                path="$.labels",
            )
        if UNSTORABLE.search(name) or UNSTORABLE.search(value):
            raise InvalidRequest(
                f"the label {name[:50]!r} contains a NUL character or an unpaired surrogate",
                path="$.labels",
            )
    return labels


def _read_handler(
    body: fields.JsonBody, namespaces: frozenset[str], place: int | None
) -> RemoteHandler:
    needs = body.get("needs", "ancestors")
    if isinstance(needs, str) and needs not in _NEEDS:
        raise InvalidRequest(
            f"'needs' must be {', '.join(_NEEDS)} or a list of step names, not {needs[:50]!r}",
            path="$.handlers.needs",
        )
    offered = fields.read_texts(body, "versions", most=100)
    for version in offered:
        versions.matches("0.0.0", version)  # raises InvalidInput
    return RemoteHandler(
        normalize_handler_name(fields.read_text(body, "name")),
        needs if isinstance(needs, str) else fields.read_texts(body, "needs"),
        offered,
        frozenset(fields.read_texts(body, "namespaces")) or namespaces,
        place,
    )


def _version_satisfies(offered: str, required: str) -> bool:
    """Return whether a version, or range of versions, meets a step's requirement."""
    if offered == required:
        return True
    if versions.is_exact_version(required):
        return versions.matches(required, offered)
    return versions.is_exact_version(offered) and versions.matches(offered, required)


def _intersect_namespaces(
    namespaces: frozenset[str], allowed: frozenset[str] | None
) -> frozenset[str]:
    if allowed is None:
        return namespaces
    return allowed if EVERY_NAMESPACE in namespaces else namespaces & allowed
