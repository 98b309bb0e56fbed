"""Runs migrations on the connection that `remit.store.migrate` hands over."""

from alembic import context

from remit.store.tables import Base

context.configure(connection=context.config.attributes["connection"], target_metadata=Base.metadata)
context.run_migrations()
