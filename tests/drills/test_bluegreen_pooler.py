"""What scripts/bluegreen does with the pooler alone."""

import contextlib
import importlib
import sys
import threading
import time
from pathlib import Path

import psycopg

from poolers import Pooler
from rows import one
from servers import ThrowawayServer, program_folder

_SCRIPTS = Path(__file__).parents[2] / "scripts"


def test_a_client_that_comes_right_before_the_pause_waits_and_is_not_turned_away(monkeypatch, drilled):
    monkeypatch.syspath_prepend(_SCRIPTS)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    servers = importlib.import_module("bluegreen_servers")
    with contextlib.ExitStack() as stack:
        stack.callback(sys.modules.pop, "bluegreen_servers")
        server = ThrowawayServer()
        stack.callback(server.stop)
        host, port = server.socket_folder, server.settings["port"]
        # A login takes its time, as one that warms a model does.
        behind = f"host={host} port={port} dbname=test connect_query='SELECT pg_sleep(0.5)'"
        pooler = stack.enter_context(Pooler({"app": behind}, ("postgres",), min_pool_size=0))
        told = {"console": f"host={pooler.folder} port=6432 user=postgres dbname=pgbouncer", "target": "none"}
        script = servers.Pooler(told, {"app": "dbname=test"}, program_folder())
        held, answered = stack.enter_context(pooler.connect()), []
        held.execute("BEGIN")

        def ask():
            try:
                with pooler.connect() as db:
                    answered.append(one(db, "SELECT 2"))
            except psycopg.Error as problem:
                answered.append(repr(problem))

        late, ending = threading.Thread(target=ask), threading.Timer(0.6, held.rollback)

        def nobody_yet():
            late.start()
            ending.start()
            time.sleep(0.3)
            return False

        monkeypatch.setattr(script, "_is_logging_in", nobody_yet)
        script.pause()
        script.resume()
        # Who comes now would be turned away, if a login had been broken off.
        ask()
        late.join(30)
        ending.join()
        assert answered == [2, 2]
        # Nothing of it stays.
        shown = {row["key"]: row["value"] for row in pooler.shown("CONFIG")}
        assert (shown["default_pool_size"], shown["reserve_pool_size"], shown["min_pool_size"]) == (
            "4",
            "2",
            "0",
        )
    drilled(
        "blue/green: a client that needs a new connection when the others begin to wait",
        1,
        "waited, answered",
    )
