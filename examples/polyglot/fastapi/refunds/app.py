"""Refunds over HTTP, and the worker that runs their steps, in one process.

Run it in its folder with `uvicorn refunds.app:app --port 3000`.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import FastAPI, Header, Request, Response
from fastapi.responses import JSONResponse

from tasker import Task
from tasker.client import connect
from tasker.errors import InvalidInput, NotFound, TaskerError
from tasker.remote.store import RemoteStore
from tasker.remote.worker import RemoteWorker

from . import handlers

URL = os.environ.get("TASKER_URL", "http://127.0.0.1:8080")
KEY = os.environ.get("TASKER_API_KEY")
NAMESPACES = os.environ["TASKER_NAMESPACE"].split(",")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Run a worker and keep a client while the application runs."""
    async with (
        connect(URL, api_key=KEY) as app.state.tasker,
        RemoteStore(URL, api_key=KEY) as remote,
        RemoteWorker(remote, [handlers], namespaces=NAMESPACES),
    ):
        yield


app = FastAPI(lifespan=lifespan)


@app.exception_handler(TaskerError)
async def refuse(request: Request, error: TaskerError) -> JSONResponse:
    """Return the server's refusal as this application's answer."""
    statuses = {InvalidInput: 400, NotFound: 404}
    body = {"code": error.code, "detail": str(error)}
    return JSONResponse(body, statuses.get(type(error), 502))


@app.post("/refunds", status_code=202)
async def create(
    context: dict[str, Any],
    response: Response,
    x_request_id: Annotated[str | None, Header()] = None,
    idempotency_key: Annotated[str | None, Header()] = None,
) -> dict[str, Any]:
    """Create a refund."""
    task = await app.state.tasker.create_task(
        "customer_success.process_refund",
        context,
        correlation_id=x_request_id,
        idempotency_key=idempotency_key,
    )
    response.headers["Location"] = f"/refunds/{task.id}"
    return refund(task)


@app.get("/refunds/{id}")
async def show(id: str) -> dict[str, Any]:
    """Return a refund."""
    return refund(await app.state.tasker.get(id))


def refund(task: Task) -> dict[str, Any]:
    """Return what callers see of a refund's task."""
    return {"id": task.id, "status": task.status, "result": task.result, "error": task.error}
