"""Progress that others see, and work that ends when it is told to."""

import contextlib
import os
import shutil
import socket
import tempfile
import threading
import time

import numpy as np
import psycopg
import pytest

from rows import ingest, one, row_counts
from small_models import vectors, write_model


class TestProgress:
    def test_notices_show_a_bar_and_what_is_left(self, own, sources):
        said = []
        own.add_notice_handler(lambda notice: said.append(notice.message_primary))
        ingest(own, write_model(sources / "m", vectors(3000)))

        assert said[0].startswith("m  [....") and "  0 %" in said[0]
        assert "100 %" in said[-1] and "[########################]" in said[-1]
        assert any("relations, about" in line for line in said)
        percents = [int(line.split("]")[1].split("%")[0]) for line in said]
        assert percents == sorted(percents)

    def test_application_name_is_given_back(self, own, sources):
        own.execute("SET application_name = 'mine'")
        ingest(own, write_model(sources / "m", vectors(50)))

        assert one(own, "SHOW application_name") == "mine"

    def test_application_name_of_a_transaction_goes_with_it(self, own):
        own.execute("SET application_name = 'mine'")
        with own.transaction():
            own.execute("SET LOCAL application_name = 'for now'")
            own.execute("SELECT hypercube.set_limit('postgres', 'k', 5)")
            assert one(own, "SHOW application_name") == "for now"

        assert one(own, "SHOW application_name") == "mine"

    def test_other_sessions_see_it_before_the_commit(self, server, own, sources):
        source = write_model(sources / "a model", vectors(6000, 64))
        seen = []
        with server.connect(dbname=own.info.dbname, autocommit=True) as other:
            worker = threading.Thread(target=ingest, args=(own, source))
            worker.start()
            while worker.is_alive():
                seen += other.execute(
                    "SELECT operation, query, stage, percent, role, remaining FROM hypercube.progress"
                ).fetchall()
                time.sleep(0.02)
            worker.join()
            assert other.execute("SELECT count(*) FROM hypercube.progress").fetchone() == (0,)
            # Anybody may call a session anything.
            own.execute("SET application_name = 'hypercube x 99999999999% 1s a b'")
            assert own.execute("SELECT count(*) FROM hypercube.progress").fetchone() == (0,)
        # The statement alone names the model: PostgreSQL hides it from those who may not look.
        assert seen and {row[0] for row in seen} == {"ingest"}
        assert all(row[1].startswith("SELECT * FROM hypercube.ingest(") for row in seen)
        assert {"relations", "projection"} <= {row[2] for row in seen}
        assert all(0 <= row[3] <= 100 and row[4] == "postgres" for row in seen)


@pytest.fixture(scope="module")
def large():
    """A model whose every stage takes long enough to be stopped in it."""
    folder = tempfile.mkdtemp(prefix="hypercube-large-", dir="/tmp")
    os.chmod(folder, 0o755)
    more = {"filler.weight": np.random.default_rng(1).normal(size=(3000, 8192)).astype(np.float32)}
    yield write_model(f"{folder}/large", vectors(30_000, 256), tensors=more)
    shutil.rmtree(folder)


class TestStopping:
    """Whatever the stage, work ends within a second and leaves nothing."""

    STAGES = ("store", "vocabulary", "relations", "projection")

    def wait_for(self, server, own, stage, worker):
        with server.connect(dbname="postgres", autocommit=True) as other:
            while worker.is_alive():
                row = other.execute(
                    "SELECT application_name FROM pg_stat_activity WHERE pid = %s", (own.info.backend_pid,)
                ).fetchone()
                if row and row[0].endswith(f" {stage}"):
                    time.sleep(0.15)
                    return
                time.sleep(0.01)
        raise AssertionError(f"the ingest ended before its stage {stage}")

    @pytest.mark.parametrize("stage", STAGES)
    def test_cancel(self, server, own, large, stage):
        own.execute("SELECT hypercube.allow_source(%s)", (os.path.dirname(large),))
        raised = []

        def work():
            try:
                ingest(own, large)
            except psycopg.Error as error:
                raised.append((time.monotonic(), error))

        worker = threading.Thread(target=work)
        worker.start()
        self.wait_for(server, own, stage, worker)
        asked = time.monotonic()
        own.cancel_safe()
        worker.join()

        [(ended, error)] = raised
        assert isinstance(error, psycopg.errors.QueryCanceled)
        assert ended - asked < 1.0
        assert not any(row_counts(own).values())
        assert one(own, "SHOW application_name") == ""

    def test_statement_timeout(self, own, large):
        own.execute("SELECT hypercube.allow_source(%s)", (os.path.dirname(large),))
        own.execute("SET statement_timeout = '3s'")
        began = time.monotonic()
        with pytest.raises(psycopg.errors.QueryCanceled, match="statement timeout"):
            ingest(own, large)
        assert time.monotonic() - began < 4.0
        assert not any(row_counts(own).values())

    @pytest.mark.parametrize("stage", STAGES)
    def test_an_ended_session(self, server, own, large, stage):
        """Its threads end first: a crash on the way out would restart every session of the server."""
        own.execute("SELECT hypercube.allow_source(%s)", (os.path.dirname(large),))
        ended = server.connect(dbname=own.info.dbname, autocommit=True)
        raised = []

        def work():
            try:
                ingest(ended, large)
            except psycopg.Error as error:
                raised.append(error)

        worker = threading.Thread(target=work)
        worker.start()
        self.wait_for(server, ended, stage, worker)
        began = time.monotonic()
        own.execute("SELECT pg_terminate_backend(%s)", (ended.info.backend_pid,))
        worker.join()
        ended.close()

        assert time.monotonic() - began < 1.0
        assert [type(error) for error in raised] == [psycopg.errors.AdminShutdown]
        assert not any(row_counts(own).values())
        assert "terminated by signal" not in server.log

    @pytest.mark.parametrize("stage", STAGES)
    def test_a_lost_client(self, server, own, large, stage):
        """Also where the server itself does not look for it, and no NOTICE would notice."""
        own.execute("SELECT hypercube.allow_source(%s)", (os.path.dirname(large),))
        lost = server.connect(dbname=own.info.dbname, autocommit=True)
        lost.execute("SET client_connection_check_interval = 0")
        lost.execute("SET client_min_messages = error")
        pid = lost.info.backend_pid

        def work():
            with contextlib.suppress(psycopg.Error):
                ingest(lost, large)

        worker = threading.Thread(target=work)
        worker.start()
        self.wait_for(server, lost, stage, worker)
        # The connection goes away under the waiting client, as when its machine is switched off.
        handle = socket.socket(fileno=os.dup(lost.fileno()))
        handle.shutdown(socket.SHUT_RDWR)
        handle.close()
        began = time.monotonic()
        while one(own, "SELECT count(*) FROM pg_stat_activity WHERE pid = %s", pid):
            assert time.monotonic() - began < 1.5, "the backend still works for nobody"
            time.sleep(0.02)
        worker.join()
        lost.close()
        assert not any(row_counts(own).values())


class TestStoppingAnArchive:
    """A model of half a gigabyte takes seconds to read back, and is let go of at once."""

    @pytest.mark.parametrize(
        "call",
        [
            "count(*) FROM hypercube.verify_model('a')",
            "count(*) FROM hypercube.model_diff('a', 'b')",
            "count(*) FROM hypercube.export_model('a', '{0}/out/a')",
        ],
    )
    def test_a_timeout(self, own, sources, call):
        table = vectors(50)
        for name, kind in (("a", np.float32), ("b", np.float16)):
            more = {f"t{i}.weight": np.full((16, 1 << 20), i, kind) for i in range(8)}
            ingest(own, write_model(sources / name, table, tensors=more))
        (sources / "out").mkdir()
        os.chmod(sources / "out", 0o777)
        own.execute("SELECT hypercube.allow_target(%s)", (f"{sources}/out",))
        own.execute("SET statement_timeout = '150ms'")
        began = time.monotonic()
        with pytest.raises(psycopg.errors.QueryCanceled):
            own.execute(f"SELECT {call.format(sources)}")
        assert time.monotonic() - began < 1.3
        assert list((sources / "out").iterdir()) == []


def test_two_ingests_of_one_name_leave_one_model(server, own, sources):
    source = write_model(sources / "m", vectors(2000))
    outcomes = []

    def work():
        with server.connect(dbname=own.info.dbname, autocommit=True) as db:
            try:
                outcomes.append(ingest(db, source)["model"])
            except psycopg.errors.DuplicateObject as refusal:
                outcomes.append(refusal.sqlstate)

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert sorted(outcomes) == ["42710", "m"]
