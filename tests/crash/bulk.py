"""A process that carries on a bulk operation and dies at one of its commits.

    python -m tests.crash.bulk STORE_URL SIDE COMMIT

kills itself with SIGKILL before or after that commit.
"""

import asyncio
import os
import signal
import sys

from tests.crash.boundaries import Boundary, watch_postgres, watch_sqlite

from tasker import LocalClient, open_store
from tasker.store.operations import bulk

LEASE = 0.1  #: seconds after which others carry on the operation of a dead process


async def main(url: str, side: str, commits: int) -> None:
    bulk.LEASE = LEASE
    left = 0

    def die_at_the_commit(boundary: Boundary) -> None:
        nonlocal left
        if boundary.side == side and boundary.statement.lower().startswith("commit"):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    (watch_sqlite if url.startswith("sqlite") else watch_postgres)(die_at_the_commit)
    async with open_store(url) as store:
        client, left = LocalClient(store), commits
        while await client.bulk.execute_batch_if_due() is not None:
            pass


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
