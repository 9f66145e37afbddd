"""The application: its routes, middleware and OpenAPI description."""

import asyncio
import importlib.metadata
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route

from tasker.api.auth.authorizer import Authorizer, LoadedAuthSettings
from tasker.api.auth.local import LocalOnlyMiddleware
from tasker.api.compat import core, legacy
from tasker.api.dependencies import ApiServices
from tasker.api.health import ReadinessChecker
from tasker.api.metrics import MetricsRenderer
from tasker.api.middleware import (
    EXEMPT,
    BasePathMiddleware,
    HeadersAndErrorsMiddleware,
    RequestLimitsMiddleware,
)
from tasker.api.openapi import build_openapi
from tasker.api.problems import respond_with_problem
from tasker.api.rate_limits import CallerRateLimits
from tasker.api.requests import invalid_request_problem
from tasker.api.responses import JsonResponse
from tasker.api.routes import (
    approvals,
    bulk,
    completions,
    hooks,
    limits,
    logs,
    namespaces,
    queues,
    schedules,
    search,
    sessions,
    signals,
    snapshots,
    steps,
    system,
    tasks,
    templates,
    waiting,
    webhooks,
    workers,
)
from tasker.api.routing import DirectRouteMiddleware
from tasker.api.shared import SharedResponses
from tasker.api.waiting import TaskWatcher
from tasker.client import LocalClient
from tasker.client.masking import SensitiveDataFinder
from tasker.engine import Worker
from tasker.engine.reporting import Reporter
from tasker.errors import TaskerError
from tasker.observe.metrics import Metrics
from tasker.remote.service import RemoteWorkerService
from tasker.settings import AuthSettings, ServerSettings
from tasker.store.open import open_store
from tasker.store.protocol import Store
from tasker.teams.permissions import METRICS_READ
from tasker.ttl_cache import TTLCache

if TYPE_CHECKING:
    from tasker.observe.tracing import Tracing

OPENAPI_PATH = "/openapi.json"
VERSION = importlib.metadata.version("tasker-workflows")
ROUTES = (
    tasks.routes,
    bulk.routes,
    waiting.routes,
    waiting.shared,
    signals.signals,
    signals.broadcasts,
    snapshots.routes,
    logs.routes,
    approvals.routes,
    completions.routes,
    hooks.routes,
    steps.routes,
    templates.routes,
    templates.statuses,
    queues.templates,
    queues.routes,
    queues.pauses,
    limits.routes,
    schedules.routes,
    webhooks.events,
    webhooks.routes,
    namespaces.routes,
    queues.namespaces,
    namespaces.audit,
    namespaces.keys,
    namespaces.workers,
    workers.routes,
    search.routes,
    search.system,
    system.analytics,
    system.failures,
    system.health,
    sessions.routes,
    legacy.routes,
    core.routes,
)
_LOGINS_PER_SECOND, _LOGINS_AT_ONCE = 0.5, 10  #: of one address
_DESCRIBING = Lock()  #: requests at once build one description


def create_app(
    store: Store | str,
    *,
    settings: ServerSettings | None = None,
    auth: AuthSettings | None = None,
    worker: Worker | None = None,
    metrics: Metrics | None = None,
    tracing: "Tracing | None" = None,
    local_only: bool = False,
) -> FastAPI:
    """Return the application that serves the API.

    Args:
        store: An open store, or the URL of a store, which is opened and closed with the
            application.
        settings: Settings of the server; None means the defaults.
        auth: Settings of authentication; None disables it.
        worker: A worker in this process on the same open store. It receives new tasks immediately,
            and its notices end long polls.
        metrics: Metrics to update; None creates new ones.
        tracing: Creates the spans of tasks that a request ends. Request spans do not need it:
            FastAPI creates them if an OpenTelemetry provider is set.
        local_only: Whether to reject requests from pages of other origins: see
            `LocalOnlyMiddleware`.

    Raises:
        InvalidSettings: A key or class named in `auth` cannot be loaded.
    """
    settings = settings or ServerSettings()
    loaded_auth = LoadedAuthSettings.load(auth or AuthSettings())
    metrics = metrics or Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if not isinstance(store, str):
            yield
            return
        async with open_store(store) as opened:
            app.state.tasker = _make_api_services(
                opened, settings, loaded_auth, metrics, tracing, None
            )
            yield

    app = FastAPI(
        title="Tasker",
        version=VERSION,
        lifespan=lifespan,
        docs_url="/docs" if settings.docs else None,
        redoc_url=None,
        openapi_url=OPENAPI_PATH,
        redirect_slashes=False,
        telemetry={
            "logs": False,
            "operation_spans": False,
            "auto_configure": False,
            "exclude": lambda scope: scope.get("path") in EXEMPT,
        },
    )
    if not isinstance(store, str):
        app.state.tasker = _make_api_services(
            store, settings, loaded_auth, metrics, tracing, worker
        )
    served = [group for group in ROUTES if group is not workers.routes]
    own = [route for group in served for route in group.router.routes]
    app.router.routes[:0] = [
        workers.WorkerProtocolRoute(),
        *own,
    ]  # the first ones are found soonest
    _add_error_handlers(app)
    _add_middleware(app, settings, metrics, local_only=local_only)
    _set_up_openapi(app, loaded_auth.settings)
    return app


def _make_api_services(
    store: Store,
    settings: ServerSettings,
    loaded_auth: LoadedAuthSettings,
    metrics: Metrics,
    tracing: "Tracing | None",
    worker: Worker | None,
) -> ApiServices:
    client = LocalClient(
        store,
        actor="server",
        inputs=settings.inputs,
        claimant=worker,
        observers=[metrics.count_notice, *([tracing.record_notice] if tracing else [])],
    )
    client.template_cache.discreet = bool(loaded_auth.settings.enabled)
    closing, watcher = asyncio.Event(), TaskWatcher(store)
    if worker is not None:
        worker.reporter.group_observers += [metrics.count_notices, watcher.refresh_tasks_of_notices]
    return ApiServices(
        store=store,
        settings=settings,
        client=client,
        templates=client.template_cache,
        sensitive=SensitiveDataFinder(store, client.template_cache),
        watcher=watcher,
        authorizer=Authorizer(store, loaded_auth),
        rate_limits=CallerRateLimits(settings.rate, settings.burst),
        logins=CallerRateLimits(_LOGINS_PER_SECOND, _LOGINS_AT_ONCE),
        metrics=metrics,
        metrics_text=MetricsRenderer(store, metrics),
        readiness=ReadinessChecker(store),
        count_unserved_roots=TTLCache(store.count_unserved_root_steps, seconds=1),
        shared=SharedResponses(),
        remote_workers=RemoteWorkerService(
            store,
            client,
            worker.reporter
            if worker
            else Reporter(
                "server", (), client.task_end_waiter, group_observers=[metrics.count_notices]
            ),
            results=settings.results,
            public_url=settings.public_url or "",
            lease=settings.worker_lease,
            closing=closing,
        ),
        closing=closing,
    )


def _add_error_handlers(app: FastAPI) -> None:
    """Let the application respond to every error with a problem (RFC 9457)."""

    async def handle_error(request: Request, error: Exception) -> JsonResponse:
        if isinstance(error, RequestValidationError):
            error = invalid_request_problem(error.errors())
        if isinstance(error, HTTPException) and error.status_code == 405:
            error.headers = {"Allow": ", ".join(_allowed_methods_at_path(app, request))}
        return await respond_with_problem(request, error)

    for kind in (HTTPException, RequestValidationError, TaskerError):
        app.add_exception_handler(kind, handle_error)


def _allowed_methods_at_path(app: FastAPI, request: Request) -> list[str]:
    """Return the methods of all routes at a request's path."""
    methods: set[str] = set()
    for route in app.routes:
        if route.matches(request.scope)[0] is not Match.NONE:
            methods |= getattr(route, "methods", None) or set()
    return sorted(methods)


def _add_middleware(
    app: FastAPI,
    settings: ServerSettings,
    metrics: Metrics,
    *,
    local_only: bool,
) -> None:
    """Wrap the routes in middleware; the last one added is the outermost."""
    app.add_middleware(DirectRouteMiddleware, routes=app.routes)
    app.add_middleware(RequestLimitsMiddleware, settings=settings)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=[
                "Authorization",
                "Content-Type",
                "Idempotency-Key",
                "X-Acting-As",
                "X-API-Key",
                "X-Correlation-Id",
                "Last-Event-ID",
                "traceparent",
            ],
            expose_headers=["Location", "Retry-After", "X-Correlation-Id"],
        )
    if local_only:
        app.add_middleware(LocalOnlyMiddleware, origins=settings.cors_origins)
    app.add_middleware(HeadersAndErrorsMiddleware, settings=settings, seen=metrics.count_request)
    if settings.base_path:
        app.add_middleware(BasePathMiddleware, base_path=settings.base_path)


def _set_up_openapi(app: FastAPI, auth: AuthSettings) -> None:
    secured, metrics_public = bool(auth.enabled), auth.metrics_public

    def openapi() -> dict[str, Any]:
        with _DESCRIBING:
            return _build_openapi_document(secured=secured, metrics_public=metrics_public)

    app.openapi = openapi  # type: ignore[method-assign]
    [served] = [
        route for route in app.routes if isinstance(route, Route) and route.path == OPENAPI_PATH
    ]

    text = b""

    async def serve_openapi_document(request: Request) -> Any:
        nonlocal text
        if not text or request.scope.get("root_path"):  # which the document would contain
            await asyncio.to_thread(openapi)  # the first time this takes a second
            response = await served.endpoint(request)
            if request.scope.get("root_path"):
                return response
            text = response.body
        return Response(text, media_type="application/json")

    built = Route(OPENAPI_PATH, serve_openapi_document, include_in_schema=False)
    app.router.routes.insert(app.routes.index(served), built)


@cache
def _build_openapi_document(*, secured: bool, metrics_public: bool) -> dict[str, Any]:
    routes = [route for group in ROUTES for route in group.documented_routes()]
    public = [str(METRICS_READ)] if metrics_public else []
    return build_openapi(routes, VERSION, secured=secured, public=public)
