"""The store on PostgreSQL 14 or later."""

from tasker.store.postgres.store import PostgresStore

__all__ = ["PostgresStore"]
