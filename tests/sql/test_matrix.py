"""The shared matrix: one file, whoever asks, right whatever happens to it."""

import os
import re
import shutil
import threading
from pathlib import Path

import numpy as np
import psycopg
import pytest

from chapters import role
from replicas import standby_of
from rows import ingest, one
from small_models import vectors, write_model

ASK = "SELECT label, score FROM hypercube.nearest(hypercube.embedding('waab'), 5)"


def folder(server, db):
    number = one(db, "SELECT oid::bigint FROM pg_database WHERE datname = current_database()")
    return server.data_folder / "pgsql_tmp_hypercube" / str(number)


def files(server, db):
    path = folder(server, db)
    return sorted(os.listdir(path)) if path.exists() else []


def private(pid):
    """Return the private bytes of a process."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(size) for size in re.findall(r"^Private_\w+: +(\d+) kB", text, re.MULTILINE)) << 10


class TestOneFile:
    def test_an_ingest_makes_it_and_questions_use_it(self, server, own, sources):
        ingest(own, write_model(sources / "m", vectors(500)))
        [name] = files(server, own)
        made = (folder(server, own) / name).stat()
        assert made.st_size == 500 * 16 * 4 and made.st_mode & 0o777 == 0o600
        digest = one(own, "SELECT encode(digest, 'hex') FROM hypercube.tensor WHERE role = 'token_embedding'")
        assert digest in name
        expected = own.execute(ASK).fetchall()
        with server.connect(dbname=own.info.dbname) as other:
            assert other.execute(ASK).fetchall() == expected
        assert (folder(server, own) / name).stat().st_mtime_ns == made.st_mtime_ns

    @pytest.mark.parametrize("dtype", ["F32", "F16", "BF16", "F64", "I8"])
    @pytest.mark.parametrize("scaled", [False, True])
    def test_a_question_makes_it_byte_for_byte_as_the_ingest_did(self, server, own, sources, dtype, scaled):
        table = 40 * vectors(700, 24)
        table[3] = 0
        more = {"embeddings.word_embeddings.weight_scale": np.linspace(1, 2, 700, dtype=np.float32)[:, None]}
        ingest(own, write_model(sources / "m", table, dtype=dtype, tensors=more if scaled else None))
        path = folder(server, own) / files(server, own)[0]
        made = path.read_bytes()
        path.unlink()
        own.execute("SELECT hypercube.warm()")
        assert path.read_bytes() == made and len(made) == 700 * 24 * 4

    def test_an_ingest_that_is_rolled_back_leaves_nothing_for_long(self, server, own, sources):
        source = write_model(sources / "m", vectors(100))
        with own.transaction(force_rollback=True):
            ingest(own, source)
        ingest(own, write_model(sources / "n", vectors(100, seed=9)))
        own.execute("SELECT hypercube.warm()")
        assert len(files(server, own)) == 1

    def test_equal_models_share_it_and_a_scale_makes_another(self, server, own, sources):
        table = vectors(300)
        for name in ("a", "b"):
            ingest(own, write_model(sources / name, table))
        tensor = "embeddings.word_embeddings.weight"
        scaled = {tensor + "_scale": np.linspace(1, 2, 300, dtype=np.float32)[:, None]}
        ingest(own, write_model(sources / "c", table, tensors=scaled))
        for model in "abc":
            own.execute(
                "SELECT * FROM hypercube.nearest(hypercube.embedding('waab', %s), 5, %s)", (model,) * 2
            )
        assert len(files(server, own)) == 2

    @pytest.mark.parametrize("harm", ["remove", "cut", "lengthen", "folder"])
    def test_it_is_made_again_by_a_session_that_had_it_and_by_one_that_had_not(
        self, server, own, sources, harm
    ):
        ingest(own, write_model(sources / "m", vectors(500)))
        expected = own.execute(ASK).fetchall()
        path = folder(server, own) / files(server, own)[0]
        for new in (False, True):
            if harm == "folder":
                shutil.rmtree(server.data_folder / "pgsql_tmp_hypercube")
            elif harm == "remove":
                path.unlink()
            else:
                os.truncate(path, 100 if harm == "cut" else 10**6)
            with server.connect(dbname=own.info.dbname, autocommit=True) as fresh:
                assert (fresh if new else own).execute(ASK).fetchall() == expected
            assert path.stat().st_size == 500 * 16 * 4

    def test_racing_sessions_are_all_right(self, server, own, sources):
        ingest(own, write_model(sources / "m", vectors(20_000, 64)))
        (folder(server, own) / files(server, own)[0]).unlink()
        answers, gate = [], threading.Barrier(12)

        def ask():
            with server.connect(dbname=own.info.dbname) as db:
                gate.wait()
                answers.append(tuple(db.execute(ASK).fetchall()))

        workers = [threading.Thread(target=ask) for _ in range(12)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert len(answers) == 12 and len(set(answers)) == 1
        assert len(files(server, own)) == 1

    def test_a_dropped_model_takes_it_along(self, server, own, sources):
        for name, seed in (("a", 1), ("b", 2)):
            ingest(own, write_model(sources / name, vectors(100, seed=seed)))
            own.execute("SELECT hypercube.warm(%s)", (name,))
        assert len(files(server, own)) == 2
        own.execute("SELECT hypercube.drop_model('a')")
        assert len(files(server, own)) == 1
        with own.transaction(force_rollback=True):
            own.execute("SELECT hypercube.drop_model('b')")
        assert len(own.execute(ASK).fetchall()) == 5

    def test_leftovers_of_a_crash_and_of_dropped_databases_go(self, server, own, sources):
        ingest(own, write_model(sources / "m", vectors(100)))
        own.execute("SELECT hypercube.warm()")
        here = folder(server, own)
        (here / "unit1-00.new").write_bytes(b"half")
        (here.parent / "4294967290").mkdir()
        own.execute("SELECT hypercube.warm()")
        assert len(files(server, own)) == 1
        assert not (here.parent / "4294967290").exists()

    def test_a_cancelled_build_leaves_nothing(self, server, own, sources):
        ingest(own, write_model(sources / "m", vectors(30_000, 384)))
        (folder(server, own) / files(server, own)[0]).unlink()
        own.execute("SET statement_timeout = '60ms'")
        with pytest.raises(psycopg.errors.QueryCanceled):
            own.execute("SELECT hypercube.warm()")
        assert files(server, own) == []
        own.execute("RESET statement_timeout")
        assert one(own, "SELECT hypercube.warm()") == 30_000 * 384 * 4

    def test_who_does_not_see_a_model_learns_nothing_from_its_file(self, server, own, sources):
        """And who sees it needs no right on its bytes: they are read for him."""
        ingest(own, write_model(sources / "m", vectors(100)))
        ask = "SELECT * FROM hypercube.analogy('waab', 'waac', 'waad', model => 'm')"
        expected = own.execute(ask).fetchall()
        with role(own, "onlooker", "hypercube_reader"):
            for granted in (False, True, False):
                if granted:
                    assert own.execute(ask).fetchall() == expected
                    with pytest.raises(psycopg.errors.InsufficientPrivilege):
                        own.execute("SELECT * FROM hypercube.chunk")
                else:
                    with pytest.raises(psycopg.errors.UndefinedObject, match='"m" does not exist'):
                        own.execute(ask)
                own.execute("RESET ROLE")
                change = "revoke" if granted else "grant"
                own.execute(f"SELECT hypercube.{change}_model('m', 'onlooker')")
                own.execute("SET ROLE onlooker")
        assert len(files(server, own)) == 1

    def test_a_policy_that_hides_the_embedding_hides_the_answers(self, own, sources):
        """Somebody may narrow what is seen further, also in a session that has asked before."""
        ingest(own, write_model(sources / "m", vectors(100)))
        own.execute("SELECT hypercube.grant_model('m', 'public')")
        ask = "SELECT * FROM hypercube.analogy('waab', 'waac', 'waad')"
        with role(own, "blindfolded", "hypercube_reader"):
            assert own.execute(ask).fetchall()
            own.execute("RESET ROLE")
            own.execute(
                "CREATE POLICY blind ON hypercube.tensor AS RESTRICTIVE TO blindfolded"
                " USING (role <> 'token_embedding')"
            )
            own.execute("SET ROLE blindfolded")
            with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="without its bytes"):
                own.execute(ask)

    def test_a_session_lets_go_of_models_that_are_gone(self, own, sources):
        for seed in range(4):
            ingest(own, write_model(sources / f"m{seed}", vectors(100, seed=seed), pieces=None), "m")
            own.execute(ASK)
            own.execute("SELECT hypercube.drop_model('m')")
        ingest(own, write_model(sources / "last", vectors(100, seed=9)), "m")
        own.execute(ASK)
        maps = Path(f"/proc/{own.info.backend_pid}/maps").read_text()
        assert maps.count("/unit1-") == 1

    def test_an_old_snapshot_removes_nothing(self, server, own, sources):
        ingest(own, write_model(sources / "a", vectors(100)))
        with server.connect(dbname=own.info.dbname) as old:
            old.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            old.execute("SELECT count(*) FROM hypercube.model")
            ingest(own, write_model(sources / "b", vectors(100, seed=3)))
            old.execute("SELECT hypercube.warm('a')")
            assert len(files(server, own)) == 2

    @pytest.mark.parametrize("harm", ["pipe", "directory", "link"])
    def test_something_else_under_its_name(self, server, own, sources, harm):
        """A pipe and a link make room for the file; a directory is a refusal that says where it is."""
        ingest(own, write_model(sources / "m", vectors(100)))
        path = folder(server, own) / files(server, own)[0]
        content = path.read_bytes()
        path.unlink()
        if harm == "pipe":
            os.mkfifo(path)
        elif harm == "link":
            path.symlink_to("/etc/passwd")
        else:
            path.mkdir()
        own.execute("SET statement_timeout = '5s'")
        if harm == "directory":
            with pytest.raises(psycopg.errors.IoError, match="pgsql_tmp_hypercube/") as refusal:
                own.execute(ASK)
            assert str(server.data_folder) not in str(refusal.value)
            path.rmdir()
        assert len(own.execute(ASK).fetchall()) == 5
        assert path.read_bytes() == content

    def test_a_folder_that_cannot_be_written_is_told_by_health_and_by_questions(self, server, own, sources):
        ingest(own, write_model(sources / "m", vectors(100)))
        root = server.data_folder / "pgsql_tmp_hypercube"
        kept = root.rename(server.data_folder / "pgsql_tmp_kept")
        root.write_text("in the way")
        try:
            check = "SELECT ok, detail FROM hypercube.health() WHERE \"check\" = 'matrix of m'"
            ok, detail = own.execute(check).fetchone()
            assert not ok and "is not a folder" in detail
            with pytest.raises(psycopg.errors.IoError, match="could not be written"):
                own.execute(ASK)
        finally:
            root.unlink()
            kept.rename(root)
        assert len(own.execute(ASK).fetchall()) == 5

    @pytest.mark.parametrize("shape", [(300, 1), (1, 32)])
    def test_a_quantised_model_has_one_score_a_pair_and_is_healthy(self, own, sources, shape):
        random = np.random.default_rng(4)
        table = random.integers(-127, 127, (300, 32))
        scale = random.uniform(0.001, 3, shape).astype(np.float32)
        more = {"embeddings.word_embeddings.weight_scale": scale}
        ingest(own, write_model(sources / "m", table, dtype="I8", tensors=more))
        assert own.execute("SELECT * FROM hypercube.health() WHERE NOT ok").fetchall() == []
        rows = own.execute(
            "SELECT t.label, n.label, n.score, hypercube.similarity(t.label, n.label)"
            " FROM hypercube.token_overview AS t, hypercube.semantic_neighbors(t.label, 4) AS n"
            " WHERE t.kind = 'word' AND t.token_id % 7 = 1"
        ).fetchall()
        assert len(rows) > 100 and all(row[2] == row[3] for row in rows)
        vector = "hypercube.nearest(hypercube.embedding('waab'), 5)"
        near = own.execute(f"SELECT label, score FROM {vector} WHERE label <> 'waab'").fetchall()
        assert (
            near == own.execute("SELECT label, score FROM hypercube.semantic_neighbors('waab', 4)").fetchall()
        )

    def test_health_compares_it_with_the_bytes(self, server, own, sources):
        ingest(own, write_model(sources / "m", vectors(100)))
        shutil.rmtree(folder(server, own))
        check = "SELECT ok, detail FROM hypercube.health() WHERE \"check\" = 'matrix of m'"
        assert own.execute(check).fetchone()[0]
        own.execute("SELECT hypercube.warm()")
        assert own.execute(check).fetchone() == (True, "100 x 16, 9 rows computed again")
        path = folder(server, own) / files(server, own)[0]
        with open(path, "r+b") as file:
            file.write(b"\0" * 64)
        ok, detail = own.execute(check).fetchone()
        assert not ok and "row 0 differs" in detail


class TestMemory:
    def test_twenty_sessions_hold_one_matrix(self, server, loaded):
        """Their own memory is that of the interpreter and numpy."""
        sessions = [server.connect(dbname="loaded", autocommit=True) for _ in range(20)]
        try:
            for db in sessions:
                db.execute("SET hypercube.model = 'minilm'")
                db.execute("SELECT * FROM hypercube.analogy('man', 'king', 'woman', 10)")
                db.execute("SELECT * FROM hypercube.nearest(hypercube.embedding('whale'), 10)")
            most = max(private(db.info.backend_pid) for db in sessions)
        finally:
            for db in sessions:
                db.close()
        assert most < 60 << 20, f"{most >> 20} MiB"


def test_a_session_has_one_thread_after_every_kind_of_question(server, loaded):
    """BLAS would start one for each core, in each of many sessions."""
    with server.connect(dbname="loaded", autocommit=True) as db:
        db.execute("SET hypercube.model = 'minilm'")
        for call in (
            "analogy('man', 'king', 'woman')", "analogies('{{man,king,woman},{france,paris,germany}}')",
            "nearest(hypercube.embedding('whale'))", "similarity('king', 'queen')",
        ):  # fmt: skip
            db.execute(f"SELECT * FROM hypercube.{call}")
            status = Path(f"/proc/{db.info.backend_pid}/status").read_text()
            assert re.search(r"^Threads:\s+1$", status, re.MULTILINE), call


class TestCopies:
    """The folder is left out of copies of the cluster, and made again where one is started."""

    def test_a_base_backup_leaves_it_out_and_a_standby_makes_its_own(self, server, own, sources):
        ingest(own, write_model(sources / "m", vectors(500)))
        expected = own.execute(ASK).fetchall()
        with standby_of(server) as standby:
            assert not (standby.data_folder / "pgsql_tmp_hypercube").exists()
            with standby.connect(dbname=own.info.dbname, autocommit=True) as db:
                assert one(db, "SELECT pg_is_in_recovery()")
                assert db.execute(ASK).fetchall() == expected
                assert len(files(standby, db)) == 1
                ask = "SELECT label FROM hypercube.analogy('waab', 'waac', 'waad')"
                assert db.execute(ask).fetchall() == own.execute(ask).fetchall()
