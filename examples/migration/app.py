"""The application: `uvicorn examples.migration.app:app`.

It starts a worker in its process, as applications for the earlier package do.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, HTTPException

from tasker_core import TaskerClient, Worker

os.environ.setdefault("TASKER_TEMPLATE_PATH", str(Path(__file__).with_name("templates")))


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Run a worker while the application runs."""
    with Worker.start(["examples.migration.earlier"]):
        yield


app = FastAPI(lifespan=lifespan)
client = TaskerClient(source_system="example")


@app.post("/{namespace}/{name}", status_code=201)
async def create(namespace: str, name: str, context: dict[str, Any]) -> dict[str, Any]:
    """Create a task."""
    try:
        return client.create_task(name, namespace=namespace, context=context).__dict__
    except (ValueError, RuntimeError) as error:
        raise HTTPException(422, str(error)) from error


@app.get("/tasks/{task_uuid}")
async def show(task_uuid: str) -> dict[str, Any]:
    """Return a task."""
    return client.get_task(task_uuid).__dict__
