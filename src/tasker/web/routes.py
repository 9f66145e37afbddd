"""The routes of the web UI."""

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from tasker.settings import ServerSettings
from tasker.web.assets import find_asset, render_page

_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "worker-src 'self'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types tasker",
    )
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_FOREVER = "public, max-age=31536000, immutable"
"""The `Cache-Control` of assets, whose names contain a hash of their content."""


def add_web_ui(app: FastAPI, settings: ServerSettings) -> None:
    """Add the web UI to an application, at `/ui/`, unless the setting `ui` is off.

    Args:
        app: The application from `tasker.api.create_app`.
        settings: The settings of the same server.
    """
    if not settings.ui:
        return
    base = settings.base_path

    async def show_page(request: Request) -> Response:
        return Response(render_page(base), media_type="text/html", headers=_HEADERS)

    async def redirect_to_ui(request: Request) -> Response:
        return RedirectResponse(f"{base}/ui/", 307)

    async def redirect_admin_workflows_to_ui(request: Request) -> Response:
        rest = request.scope["path"].removeprefix("/admin")
        query = request.url.query
        return RedirectResponse(f"{base}/ui{rest}" + (f"?{query}" if query else ""), 307)

    app.router.routes += [
        Route("/", redirect_to_ui, include_in_schema=False),
        Route("/ui", redirect_to_ui, include_in_schema=False),
        Route("/ui/assets/{name:path}", send_asset, include_in_schema=False),
        Route("/ui/{path:path}", show_page, include_in_schema=False),
        Route("/admin/workflows", redirect_admin_workflows_to_ui, include_in_schema=False),
        Route(
            "/admin/workflows/{path:path}", redirect_admin_workflows_to_ui, include_in_schema=False
        ),
    ]


async def send_asset(request: Request) -> Response:
    """Send a built file; an unknown one is a plain 404, never the page."""
    asset = find_asset(request.path_params["name"])
    if asset is None:
        return Response("not found\n", 404, media_type="text/plain")
    headers = {**_HEADERS, "Cache-Control": _FOREVER, "Vary": "Accept-Encoding"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
        return Response(asset.compressed, media_type=asset.media_type, headers=headers)
    return Response(asset.content, media_type=asset.media_type, headers=headers)
