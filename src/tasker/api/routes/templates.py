"""Templates: listing, reading, comparing, registering, and reviewing."""

import asyncio
import dataclasses
from collections.abc import Callable, Coroutine, Sequence
from typing import Annotated, Any, TypeAlias

from fastapi import Depends, Query
from pydantic import Field
from starlette.requests import Request

from tasker import codec, versions
from tasker.analytics.model import UsualDurations
from tasker.api.authorization import authorize, is_allowed_on_template, visible_namespaces
from tasker.api.dependencies import ApiServices, ApiServicesOf
from tasker.api.fields import NamePath, Namespace, NamespacePath, Text, VersionPath
from tasker.api.problems import Problem
from tasker.api.requests import JsonBodyParser, RequestBody, require_media_type
from tasker.api.responses import JsonResponse, build_response
from tasker.api.routes.tasks import caller_client
from tasker.api.routing import READS_BODY, ExtraResponse, Routes
from tasker.api.views.templates import (
    RegisteredTemplate,
    TemplateList,
    TemplatesRegistered,
    TemplateVersionList,
    TemplateView,
    VersionWithReviewList,
    template_summary,
    template_view,
)
from tasker.client.templates import LoadedTemplate, build_loaded_template, split_template_reference
from tasker.errors import DocumentProblem, InvalidInput, InvalidTemplate, NotFound
from tasker.model import (
    MAX_BULK,
    JsonObject,
    StoredTemplate,
    Template,
    TemplateStatus,
    TemplateVersion,
    flatten_steps,
)
from tasker.teams.permissions import (
    NAMESPACES_UPDATE,
    TASKS_CREATE,
    TEMPLATES_APPROVE,
    TEMPLATES_LIST,
    TEMPLATES_READ,
    TEMPLATES_REGISTER,
    TEMPLATES_RETIRE,
    Permission,
)
from tasker.template.diff import TemplateDifference, compare_templates
from tasker.template.load import parse_template, template_from_document
from tasker.template.step_limits import list_cross_namespace_limit_keys

routes = Routes("templates", "/v1/templates")
statuses = Routes("templates", "/v1/template_versions")

YAML_TYPES = ("application/yaml", "application/x-yaml", "text/yaml")
ONE = "/{namespace}/{name}/{version}"
_MISSING = ("not_found",)
_VERSION_MISSING = (*_MISSING, "template_not_approved", "invalid_input")


class TemplatesBody(RequestBody):
    """Template versions to register in one transaction."""

    templates: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=MAX_BULK)]
    """Each template as JSON, in either dialect."""


class ReviewBody(RequestBody):
    """The decision of a review."""

    approve: bool
    """False: reject it."""
    reason: Text = ""
    """Required to reject."""


class RetirementBody(RequestBody):
    """Retires or restores a template version."""

    reason: Text = ""


OptionalReason = Annotated[RetirementBody, Depends(JsonBodyParser(RetirementBody, optional=True))]


# ---------------------------------------------------------------------- reading


@routes.add("GET", "", TEMPLATES_LIST, response=TemplateList)
async def list_templates(
    request: Request,
    api: ApiServicesOf,
    namespace: Namespace | None = None,
    name: Annotated[str | None, Query(max_length=128)] = None,
    status: TemplateStatus = TemplateStatus.APPROVED,
    documents: bool = False,
) -> JsonResponse:
    """List template versions with one status, optionally filtered by template."""
    visible = await visible_namespaces(request, TEMPLATES_LIST)
    if status is TemplateStatus.APPROVED:
        templates = await api.store.list_approved_templates(namespace=namespace, name=name)
    else:
        known = await api.store.list_template_versions(namespace=namespace, name=name)
        templates = [await _get_stored_template(api, one) for one in known if one.status is status]
    shown = [one for one in templates if visible is None or one.template.namespace in visible]

    def build_template_list() -> TemplateList:
        return TemplateList(templates=[template_summary(one, document=documents) for one in shown])

    return await build_response(_count_steps(*shown), build_template_list)


@statuses.add("GET", "", TEMPLATES_LIST, response=VersionWithReviewList)
async def list_template_versions(
    request: Request,
    api: ApiServicesOf,
    namespace: Namespace | None = None,
    name: Annotated[str | None, Query(max_length=128)] = None,
    status: TemplateStatus | None = None,
) -> JsonResponse:
    """List template versions with their reviews, of every status unless one is named."""
    visible = await visible_namespaces(request, TEMPLATES_LIST)
    listed = [
        one
        for one in await api.store.list_template_versions(namespace=namespace, name=name)
        if (visible is None or one.namespace in visible) and status in (None, one.status)
    ]
    return JsonResponse(VersionWithReviewList(versions=listed))


async def _get_stored_template(api: ApiServices, version: TemplateVersion) -> StoredTemplate:
    return await api.store.template_by_id(version.id)


@routes.add(
    "GET", "/{namespace}/{name}", TEMPLATES_READ, response=TemplateVersionList, error_codes=_MISSING
)
async def list_versions_of_template(
    request: Request, api: ApiServicesOf, namespace: NamespacePath, name: NamePath
) -> JsonResponse:
    """List the versions of a template, with their reviews."""
    await authorize(request, TEMPLATES_READ, namespace=namespace, name=name)
    listed = await api.store.list_template_versions(namespace=namespace, name=name)
    if not listed:
        raise NotFound(f"template {namespace}.{name} not found")
    approved = [one.version for one in listed if one.status is TemplateStatus.APPROVED]
    answer: TemplateVersionList = {
        "namespace": namespace,
        "name": name,
        "latest_version": versions.highest_matching_version(approved),
        "versions": listed,
    }
    return JsonResponse(answer)


@routes.add(
    "GET",
    "/{namespace}/{name}/diff",
    TEMPLATES_READ,
    response=TemplateDifference,
    error_codes=_VERSION_MISSING,
)
async def compare_versions(
    request: Request,
    api: ApiServicesOf,
    namespace: NamespacePath,
    name: NamePath,
    before: Annotated[str, Query(alias="from", max_length=128)],
    after: Annotated[str, Query(alias="to", max_length=128)] = versions.LATEST,
) -> JsonResponse:
    """Compare two versions."""
    old = (
        await _load_authorized_template(request, api, TEMPLATES_READ, namespace, name, before)
    ).stored
    new = (
        await _load_authorized_template(request, api, TEMPLATES_READ, namespace, name, after)
    ).stored
    return await build_response(
        _count_steps(old, new), lambda: compare_templates(old.template, new.template)
    )


@routes.add("GET", ONE, TEMPLATES_READ, response=TemplateView, error_codes=_VERSION_MISSING)
async def get_template(
    request: Request,
    api: ApiServicesOf,
    namespace: NamespacePath,
    name: NamePath,
    version: VersionPath,
    usable: bool = False,
) -> JsonResponse:
    """Read a template version: an exact one, the highest in a range (`^2.1`), or `latest`.

    With `usable`, the response for a pending or rejected version is an error.
    """
    loaded = await _load_authorized_template(request, api, TEMPLATES_READ, namespace, name, version)
    if usable and loaded.stored.status not in _USABLE:
        loaded = await api.templates.load_by_name(name, namespace, version)
    return await build_response(_count_steps(loaded.stored), lambda: template_view(loaded))


@routes.add(
    "GET",
    f"{ONE}/durations",
    TEMPLATES_READ,
    response=UsualDurations,
    error_codes=_VERSION_MISSING,
)
async def get_usual_durations(
    request: Request,
    api: ApiServicesOf,
    namespace: NamespacePath,
    name: NamePath,
    version: VersionPath,
) -> JsonResponse:
    """Return how long a version and its steps usually take, measured over its newest 50 complete
    tasks."""
    loaded = await _load_authorized_template(request, api, TEMPLATES_READ, namespace, name, version)
    return JsonResponse(await api.store.usual_durations(loaded.stored))


def _count_steps(*templates: StoredTemplate) -> int:
    return sum(len(stored.template.steps) for stored in templates)


_USABLE = (TemplateStatus.APPROVED, TemplateStatus.RETIRED)


async def _load_authorized_template(
    request: Request,
    api: ApiServices,
    permission: Permission,
    namespace: str,
    name: str,
    version: str,
) -> LoadedTemplate:
    """Return a template version on which the caller may use `permission`.

    An exact version may have any status; a range and `latest` select among approved versions.
    """
    await authorize(request, permission, namespace=namespace, name=name, version=version)
    if versions.is_exact_version(version):
        known = await api.store.list_template_versions(namespace=namespace, name=name)
        matches = [one for one in known if one.version == version]
        if matches:
            approved = [one for one in matches if one.status is TemplateStatus.APPROVED]
            return await build_loaded_template(
                await _get_stored_template(api, (approved or matches)[-1])
            )
    return await api.templates.load_by_name(name, namespace, version)


# ---------------------------------------------------------------------- registering


@routes.add(
    "POST",
    "",
    TEMPLATES_REGISTER,
    response=TemplateView,
    status=201,
    description="The version was registered; in a namespace that requires approval, it waits for "
    "a review.",
    extra_responses={200: ExtraResponse(TemplateView, "The same content was already registered.")},
    error_codes=(*READS_BODY, "invalid_template", "template_conflict", "http_host_not_allowed"),
    reads={"application/json": {"type": "object"}, YAML_TYPES[0]: {"type": "string"}},
)
async def register_template(
    request: Request, api: ApiServicesOf, replace: bool = False
) -> JsonResponse:
    """Register a template version, written as JSON or YAML in either dialect.

    Versions are immutable: different content is rejected unless `replace` is set. Existing tasks
    keep their content.
    """
    media_type = require_media_type(request, ("application/json", *YAML_TYPES))
    text = await request.body()
    yaml = media_type in YAML_TYPES
    template = await asyncio.to_thread(_parse_template_body, text, yaml, api.settings.body_bytes)
    await authorize(
        request,
        TEMPLATES_REGISTER,
        namespace=template.namespace,
        name=template.name,
        version=template.version,
    )
    await _authorize_shared_limits(request, [template])
    await _authorize_child_tasks(request, [template])
    stored, new = await caller_client(request, api).register(template, replace=replace)
    location = f"/v1/templates/{template.namespace}/{template.name}/{template.version}"
    return await build_response(
        _count_steps(stored),
        lambda: template_view(LoadedTemplate(stored), created=new),
        201 if new else 200,
        {"Location": location},
    )


@routes.add(
    "POST",
    "/bulk",
    TEMPLATES_REGISTER,
    response=TemplatesRegistered,
    status=201,
    description="All versions were registered; in a namespace that requires approval, they wait "
    "for a review.",
    extra_responses={
        200: ExtraResponse(TemplatesRegistered, "All versions were already registered.")
    },
    error_codes=(*READS_BODY, "invalid_template", "template_conflict", "http_host_not_allowed"),
)
async def register_templates(
    request: Request,
    api: ApiServicesOf,
    body: Annotated[TemplatesBody, Depends(JsonBodyParser(TemplatesBody))],
    replace: bool = False,
) -> JsonResponse:
    """Register several template versions in one transaction, all or none."""
    templates = await asyncio.to_thread(_parse_templates, body.templates)
    for name in sorted({template.key for template in templates}):
        await authorize(request, TEMPLATES_REGISTER, **name._asdict())
    await _authorize_shared_limits(request, templates)
    await _authorize_child_tasks(request, templates)
    registered = await caller_client(request, api).register_all(templates, replace=replace)
    new = sum(one.created for one in registered)

    def build_bulk_registration_response() -> TemplatesRegistered:
        views: list[RegisteredTemplate] = [
            {**template_summary(one.stored, document=True), "created": one.created}
            for one in registered
        ]
        return {"templates": views, "created": new}

    steps = _count_steps(*(one.stored for one in registered))
    return await build_response(steps, build_bulk_registration_response, 201 if new else 200)


async def _authorize_shared_limits(request: Request, templates: Sequence[Template]) -> None:
    """Raise Problem if templates set limits for keys that all namespaces share and the caller may
    not."""
    keys = [key for template in templates for key in list_cross_namespace_limit_keys(template)]
    if keys and await visible_namespaces(request, NAMESPACES_UPDATE) is not None:
        raise Problem(
            "forbidden",
            f"Setting the limit of {keys[0]!r} needs the permission {NAMESPACES_UPDATE} in all"
            " namespaces; alternatively, declare the key without `concurrency` and `rate`.",
        )


async def _authorize_child_tasks(request: Request, templates: Sequence[Template]) -> None:
    """Raise Problem unless the caller may create the tasks that steps run in other namespaces.

    The creator of a task of the template needs no permission there.
    """
    for template in templates:
        for step in flatten_steps(template.steps):
            if step.task is None:
                continue
            namespace, name, _ = split_template_reference(step.task.template, None, None)
            if namespace == template.namespace:
                continue
            if not await is_allowed_on_template(request, TASKS_CREATE, namespace, name):
                raise Problem(
                    "forbidden",
                    f"The step {step.name!r} runs tasks of {namespace}.{name}; to register the"
                    f" template, you need the permission {TASKS_CREATE} for these tasks.",
                    permission=str(TASKS_CREATE),
                    namespace=namespace,
                )


def _parse_templates(documents: Sequence[JsonObject]) -> list[Template]:
    """Read the templates of a request; an error contains the problems of all of them."""
    templates: list[Template] = []
    problems: list[DocumentProblem] = []
    for index, document in enumerate(documents):
        place = f"templates[{index}]"
        try:
            templates.append(template_from_document(document))
        except InvalidTemplate as error:
            problems += (
                dataclasses.replace(one, path=".".join(filter(None, (place, one.path))))
                for one in error.problems
            )
    if problems:
        raise InvalidTemplate(*problems)
    return templates


def _parse_template_body(text: bytes, yaml: bool, limit: int) -> Template:
    if yaml:
        return parse_template(text, file="body", limit=limit)
    try:
        document = codec.parse_untrusted(text, what="The body", limit=limit)
    except InvalidInput as error:
        raise Problem("malformed_json", f"{error}.") from None
    if not isinstance(document, dict):
        raise Problem("invalid_template", "A template must be a JSON object.")
    return template_from_document(document)


# ------------------------------------------------------------------------ reviewing


def authorized_template_dependency(
    permission: Permission,
) -> Callable[..., Coroutine[Any, Any, str]]:
    """Return the dependency that checks whether the caller may use `permission` on the template
    version in the path, and returns the reference of that version."""

    async def authorize_template_reference(
        request: Request, namespace: NamespacePath, name: NamePath, version: VersionPath
    ) -> str:
        await authorize(request, permission, namespace=namespace, name=name, version=version)
        return f"{namespace}.{name}@{version}"

    return authorize_template_reference


RetirableTemplate: TypeAlias = Annotated[
    str, Depends(authorized_template_dependency(TEMPLATES_RETIRE))
]


@statuses.add(
    "POST",
    ONE + "/review",
    TEMPLATES_APPROVE,
    response=TemplateVersion,
    error_codes=(*READS_BODY, "not_found", "wrong_status", "not_an_approver", "invalid_input"),
)
async def review_template(
    request: Request,
    api: ApiServicesOf,
    template: Annotated[str, Depends(authorized_template_dependency(TEMPLATES_APPROVE))],
    body: Annotated[ReviewBody, Depends(JsonBodyParser(ReviewBody))],
) -> JsonResponse:
    """Approve or reject a version that is pending review. An approved version accepts tasks."""
    client = caller_client(request, api)
    return JsonResponse(await client.review(template, approve=body.approve, reason=body.reason))


@routes.add(
    "POST",
    ONE + "/retire",
    TEMPLATES_RETIRE,
    response=TemplateVersion,
    error_codes=(*READS_BODY, "not_found", "wrong_status"),
)
async def retire_template(
    request: Request, api: ApiServicesOf, template: RetirableTemplate, body: OptionalReason
) -> JsonResponse:
    """Retire a version: it accepts no new tasks, and existing tasks continue."""
    client = caller_client(request, api)
    return JsonResponse(await client.retire(template, reason=body.reason))


@routes.add(
    "POST",
    ONE + "/restore",
    TEMPLATES_RETIRE,
    response=TemplateVersion,
    error_codes=(*READS_BODY, "not_found", "wrong_status"),
)
async def restore_template(
    request: Request, api: ApiServicesOf, template: RetirableTemplate, body: OptionalReason
) -> JsonResponse:
    """Restore a retired version, which then accepts tasks again."""
    client = caller_client(request, api)
    return JsonResponse(await client.restore(template, reason=body.reason))
