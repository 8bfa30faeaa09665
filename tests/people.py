"""Roles that are made for tests, and what they do in a database."""

import itertools
from contextlib import ExitStack

import psycopg
import pytest

_numbers = itertools.count()


class People:
    """Roles with names of their own, and connections of theirs to one database; all go with `close`."""

    def __init__(self, server, dbname):
        self._server = server
        self._dbname = dbname
        self._roles = []
        self._open = ExitStack()
        self._root = self.connect("postgres")

    def role(self, *groups):
        """Make a role that may log in, a member of others, and return its name."""
        name = f"person_{next(_numbers)}"
        self._root.execute(f"CREATE ROLE {name} LOGIN")
        self._roles.append(name)
        for group in groups:
            self._root.execute(f"GRANT {group} TO {name}")
        return name

    def connect(self, role, **settings):
        """Return an autocommit connection of a role."""
        connection = self._server.connect(dbname=self._dbname, user=role, autocommit=True)
        self._open.callback(connection.close)
        for name, value in settings.items():
            connection.execute("SELECT set_config(%s, %s, false)", (name, value))
        return connection

    def __call__(self, *groups):
        """Make a role and return a connection of it."""
        return self.connect(self.role(*groups))

    def limit(self, role, what, value):
        """Limit what a role may use, as an administrator does."""
        self._root.execute("SELECT hypercube.set_limit(%s, %s, %s)", (role, what, value))

    def close(self):
        """Close the connections and drop the roles."""
        for name in self._roles:
            self._root.execute(f"DELETE FROM hypercube.role_limit WHERE role = '{name}'")
            self._root.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = %s", (name,)
            )
        for name in reversed(self._roles):
            self._root.execute(f"DROP ROLE {name}")
        self._open.close()


def name_of(connection):
    """Return the role that a connection was opened by."""
    return connection.info.user


def refused(connection, statement, kind, *args):
    """Run a statement that has to be refused with an error of psycopg, and return its diagnostics."""
    with pytest.raises(getattr(psycopg.errors, kind)) as refusal:
        connection.execute(statement, args)
    return refusal.value.diag
