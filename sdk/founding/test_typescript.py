"""The TypeScript of the founding documents runs as printed, against a real server.

Supplied are the imports, which the documents leave out, and the handlers of the other steps.
"""

from pathlib import Path

import pytest
from sdk.conformance.languages import LANGUAGES, selected
from sdk.conformance.real_server import compile_typescript, real_server
from sdk.founding.documents import block_at, folder, text_of

pytestmark = [
    pytest.mark.skipif(
        folder() is None, reason="needs the founding documents (TASKER_FOUNDING_DOCUMENTS)"
    ),
    pytest.mark.skipif("typescript" not in selected(), reason="TASKER_SDK names other languages"),
]

IMPORTS = """import { ErrorType, StepHandler } from 'tasker';
import type { StepContext, StepHandlerResult } from 'tasker';

"""
WORKER = """
import { defineHandler, Worker } from 'tasker';
import { CreateUserHandler } from './handler.js';

const name = (step: string) => `Microservices.StepHandlers.${step}Handler`;
const account = { depends: { account: 'create_user_account' } };
const others = ['SetupBillingProfile', 'InitializePreferences', 'SendWelcomeSequence'];

await new Worker({
  namespaces: ['microservices'],
  handlers: [
    CreateUserHandler,
    ...others.map((step) => defineHandler(name(step), () => ({ step }))),
    defineHandler(name('UpdateUserStatus'), account, ({ account }) => ({ user: account })),
  ],
}).run();
"""


def test_a_user_is_registered(tmp_path: Path) -> None:
    if problem := LANGUAGES["typescript"].missing():
        pytest.skip(problem)
    code = tmp_path / "code"
    code.mkdir()
    (code / "handler.ts").write_text(IMPORTS + text_of(block_at("004:186")))
    (code / "worker.ts").write_text(WORKER)
    compile_typescript(code)
    with real_server(tmp_path) as server:
        server.register(text_of(block_at("004:41")))
        with server.running("node", "worker.js", cwd=code, TASKER_URL=server.url):
            user = {"email": "ada@example.com", "name": "Ada"}
            tasks = [
                server.create("microservices.user_registration", user_info=info)
                for info in (user, {}, {"email": "ada"})
            ]
            results = server.results(tasks[0])
            account = results["create_user_account"]
            assert ("ada@example.com", "Ada", "free", "created") == tuple(
                account[field] for field in ("email", "name", "plan", "status")
            )
            assert {"user": account} == results["update_user_status"]
            errors = []
            for task in tasks[1:]:
                assert "error" == server.ended(task)["status"]
                step = server.steps(task)["create_user_account"]
                errors.append((step["error"]["message"], step["error"]["code"], step["attempts"]))
            assert [
                ("Email is required", "permanent_error", 1),
                ("Invalid email format: ada", "permanent_error", 1),
            ] == errors
