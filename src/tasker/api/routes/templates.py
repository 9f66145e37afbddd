"""Templates: listed, read, compared, registered, and decided about."""

import asyncio
from typing import Annotated

from fastapi import Depends, Query
from starlette.requests import Request

from tasker import codec, versions
from tasker.api.authorization import authorize, visible_namespaces
from tasker.api.bodies import Body, JsonBody, require_type
from tasker.api.dependencies import NamePath, Namespace, NamespacePath, Text, VersionPath
from tasker.api.problems import Problem
from tasker.api.responses import JsonReply
from tasker.api.routes.tasks import acting
from tasker.api.routing import READS_BODY, Answer, Routes
from tasker.api.state import Api, ApiOf
from tasker.api.views.templates import (
    DifferenceAnswer,
    StatusList,
    TemplateAnswer,
    TemplateList,
    VersionAnswer,
    VersionList,
    difference_answer,
    template_answer,
    template_list,
    version_answer,
)
from tasker.client.templates import LoadedTemplate
from tasker.errors import InvalidInput, NotFound
from tasker.model import StoredTemplate, Template, TemplateStatus, TemplateVersion
from tasker.teams.permissions import (
    TEMPLATES_APPROVE,
    TEMPLATES_LIST,
    TEMPLATES_READ,
    TEMPLATES_REGISTER,
    TEMPLATES_RETIRE,
    Permission,
)
from tasker.template import from_document, parse_template
from tasker.template.diff import compare

routes = Routes("templates", "/v1/templates")
statuses = Routes("templates", "/v1/template_versions")

YAML_TYPES = ("application/yaml", "application/x-yaml", "text/yaml")
ONE = "/{namespace}/{name}/{version}"
_MISSING = ("invalid_request", "not_found")
_VERSION_MISSING = (*_MISSING, "template_not_approved", "invalid_input")


class Decision(Body):
    """Why something is decided."""

    reason: Text = ""


class Rejection(Body):
    """Why a version is refused."""

    reason: Text


DecisionBody = Annotated[Decision, Depends(JsonBody(Decision, optional=True))]


# ---------------------------------------------------------------------- reading


@routes.add("GET", "", TEMPLATES_LIST, answer=TemplateList, refuses=("invalid_request",))
async def list_templates(
    request: Request,
    api: ApiOf,
    namespace: Namespace | None = None,
    name: Annotated[str | None, Query(max_length=128)] = None,
    status: TemplateStatus = TemplateStatus.APPROVED,
    documents: bool = False,
) -> JsonReply:
    """List template versions of one status, of all templates or some."""
    visible = await visible_namespaces(request, TEMPLATES_LIST)
    if status is TemplateStatus.APPROVED:
        found = await api.store.templates(namespace=namespace, name=name)
    else:
        decided = await api.store.template_statuses(namespace=namespace, name=name)
        found = [await _stored(api, one) for one in decided if one.status is status]
    if visible is not None:
        found = [stored for stored in found if stored.template.namespace in visible]
    return JsonReply(template_list(found, await api.store.namespaces(), documents=documents))


@statuses.add("GET", "", TEMPLATES_LIST, answer=StatusList, refuses=("invalid_request",))
async def list_template_versions(
    request: Request,
    api: ApiOf,
    namespace: Namespace | None = None,
    name: Annotated[str | None, Query(max_length=128)] = None,
) -> JsonReply:
    """List what was decided about template versions, whatever it was."""
    visible = await visible_namespaces(request, TEMPLATES_LIST)
    found = [
        version_answer(one)
        for one in await api.store.template_statuses(namespace=namespace, name=name)
        if visible is None or one.name.namespace in visible
    ]
    return JsonReply(StatusList(versions=found))


async def _stored(api: Api, version: TemplateVersion) -> StoredTemplate:
    return await api.store.template_by_id(version.id)


@routes.add("GET", "/{namespace}/{name}", TEMPLATES_READ, answer=VersionList, refuses=_MISSING)
async def list_versions(
    request: Request, api: ApiOf, namespace: NamespacePath, name: NamePath
) -> JsonReply:
    """List the versions of a template, and what was decided about them."""
    await authorize(request, TEMPLATES_READ, namespace=namespace, name=name)
    found = await api.store.template_statuses(namespace=namespace, name=name)
    if not found:
        raise NotFound(f"there is no template {namespace}.{name}")
    approved = [one.name.version for one in found if one.status is TemplateStatus.APPROVED]
    answer: VersionList = {
        "namespace": namespace,
        "name": name,
        "latest_version": versions.latest(approved),
        "versions": [version_answer(one) for one in found],
    }
    return JsonReply(answer)


@routes.add(
    "GET",
    "/{namespace}/{name}/diff",
    TEMPLATES_READ,
    answer=DifferenceAnswer,
    refuses=_VERSION_MISSING,
)
async def compare_versions(
    request: Request,
    api: ApiOf,
    namespace: NamespacePath,
    name: NamePath,
    before: Annotated[str, Query(alias="from", max_length=128)],
    after: Annotated[str, Query(alias="to", max_length=128)] = versions.LATEST,
) -> JsonReply:
    """Tell what changed from one version to another."""
    old = (await _found(request, api, TEMPLATES_READ, namespace, name, before)).stored
    new = (await _found(request, api, TEMPLATES_READ, namespace, name, after)).stored
    return JsonReply(difference_answer(old, new, compare(old.template, new.template)))


@routes.add("GET", ONE, TEMPLATES_READ, answer=TemplateAnswer, refuses=_VERSION_MISSING)
async def get_template(
    request: Request,
    api: ApiOf,
    namespace: NamespacePath,
    name: NamePath,
    version: VersionPath,
    usable: bool = False,
) -> JsonReply:
    """Read a template version: exact, the highest of a range (`^2.1`), or `latest`.

    With `usable`, one that waits for approval or was rejected is refused.
    """
    shape = await _found(request, api, TEMPLATES_READ, namespace, name, version)
    if usable and shape.stored.status not in _USABLE:
        shape = await api.catalogue.find(name, namespace, version)
    return JsonReply(template_answer(shape))


_USABLE = (TemplateStatus.APPROVED, TemplateStatus.RETIRED)


async def _found(
    request: Request, api: Api, permission: Permission, namespace: str, name: str, version: str
) -> LoadedTemplate:
    """Find a version; an exact one whatever was decided about it."""
    await authorize(request, permission, namespace=namespace, name=name, version=version)
    if versions.is_pin(version):
        found = await api.store.template_statuses(namespace=namespace, name=name)
        meant = [one for one in found if one.name.version == version]
        if meant:
            approved = [one for one in meant if one.status is TemplateStatus.APPROVED]
            return LoadedTemplate(await _stored(api, (approved or meant)[-1]))
    return await api.catalogue.find(name, namespace, version)


# ---------------------------------------------------------------------- registering


@routes.add(
    "POST",
    "",
    TEMPLATES_REGISTER,
    answer=TemplateAnswer,
    status=201,
    told="It was registered; in a namespace that requires approval it waits for that.",
    also={200: Answer(TemplateAnswer, "The same content was there already.")},
    refuses=(*READS_BODY, "invalid_template", "template_conflict"),
    reads={"application/json": {"type": "object"}, YAML_TYPES[0]: {"type": "string"}},
)
async def register_template(request: Request, api: ApiOf, replace: bool = False) -> JsonReply:
    """Register a template version, written as JSON or YAML in either dialect.

    A version never changes: other content under it is refused, unless `replace` asks for
    that; tasks that exist keep theirs.
    """
    kind = require_type(request, ("application/json", *YAML_TYPES))
    text = await request.body()
    template = await asyncio.to_thread(_read, text, kind in YAML_TYPES, api.settings.body_bytes)
    await authorize(
        request,
        TEMPLATES_REGISTER,
        namespace=template.namespace,
        name=template.name,
        version=template.version,
    )
    stored, new = await acting(request, api).register(template, replace=replace)
    where = f"/v1/templates/{template.namespace}/{template.name}/{template.version}"
    return JsonReply(
        template_answer(LoadedTemplate(stored), created=new),
        201 if new else 200,
        {"Location": where},
    )


def _read(text: bytes, yaml: bool, limit: int) -> Template:
    if yaml:
        return parse_template(text, file="body", limit=limit)
    try:
        document = codec.parse(text, what="The body", limit=limit)
    except InvalidInput as error:
        raise Problem("malformed_json", f"{error}.") from None
    if not isinstance(document, dict):
        raise Problem("invalid_template", "A template is an object.")
    return from_document(document)


# ------------------------------------------------------------------------ reviewing


@routes.add(
    "POST",
    ONE + "/approve",
    TEMPLATES_APPROVE,
    answer=VersionAnswer,
    refuses=(*READS_BODY, "not_found", "wrong_state", "not_an_approver"),
)
async def approve_template(
    request: Request,
    api: ApiOf,
    namespace: NamespacePath,
    name: NamePath,
    version: VersionPath,
    body: DecisionBody,
) -> JsonReply:
    """Approve a version that waits: from now on it takes tasks."""
    await authorize(request, TEMPLATES_APPROVE, namespace=namespace, name=name, version=version)
    decided = await acting(request, api).review(
        f"{namespace}.{name}@{version}", approve=True, reason=body.reason
    )
    return JsonReply(version_answer(decided))


@routes.add(
    "POST",
    ONE + "/reject",
    TEMPLATES_APPROVE,
    answer=VersionAnswer,
    refuses=(*READS_BODY, "not_found", "wrong_state", "not_an_approver", "invalid_input"),
)
async def reject_template(
    request: Request,
    api: ApiOf,
    namespace: NamespacePath,
    name: NamePath,
    version: VersionPath,
    body: Annotated[Rejection, Depends(JsonBody(Rejection))],
) -> JsonReply:
    """Refuse a version that waits, and say why."""
    await authorize(request, TEMPLATES_APPROVE, namespace=namespace, name=name, version=version)
    decided = await acting(request, api).review(
        f"{namespace}.{name}@{version}", approve=False, reason=body.reason
    )
    return JsonReply(version_answer(decided))


@routes.add(
    "POST",
    ONE + "/retire",
    TEMPLATES_RETIRE,
    answer=VersionAnswer,
    refuses=(*READS_BODY, "not_found", "wrong_state"),
)
async def retire_template(
    request: Request,
    api: ApiOf,
    namespace: NamespacePath,
    name: NamePath,
    version: VersionPath,
    body: DecisionBody,
) -> JsonReply:
    """Take a version out of use: it gets no new tasks, those it has run on."""
    await authorize(request, TEMPLATES_RETIRE, namespace=namespace, name=name, version=version)
    retired = await acting(request, api).retire(f"{namespace}.{name}@{version}", reason=body.reason)
    return JsonReply(version_answer(retired))


@routes.add(
    "POST",
    ONE + "/restore",
    TEMPLATES_RETIRE,
    answer=VersionAnswer,
    refuses=(*READS_BODY, "not_found", "wrong_state"),
)
async def restore_template(
    request: Request,
    api: ApiOf,
    namespace: NamespacePath,
    name: NamePath,
    version: VersionPath,
    body: DecisionBody,
) -> JsonReply:
    """Take a retired version into use again."""
    await authorize(request, TEMPLATES_RETIRE, namespace=namespace, name=name, version=version)
    restored = await acting(request, api).restore(
        f"{namespace}.{name}@{version}", reason=body.reason
    )
    return JsonReply(version_answer(restored))
