"""What a tenant tries with content that others may have: digests, equal models and texts, uploads, files."""

import os
import uuid
from contextlib import contextmanager

import psycopg
import pytest

from small_models import vectors, write_model
from tenants import SECRET_TEXT, one, rows

GUESSES = ("zanzibar", "quokka", "xylophone", f"{SECRET_TEXT} ", "z", "q", f"{SECRET_TEXT} We meet at noon.")


def outcome(db, call, *args):
    """Return what a call ends in: its SQLSTATE and message with digests taken out, or its rows."""
    try:
        return rows(db, f"SELECT * FROM hypercube.{call}", *args)
    except psycopg.Error as error:
        return error.sqlstate, error.diag.message_primary.split("\\x")[0], error.diag.message_hint


def digest_of(db, text):
    """Return the id that a text, or a single character, has."""
    found = one(db, "SELECT hypercube.composition_id(%s)", text)
    if len(text) > 1:
        return found
    return one(db, "SELECT substring(a.id FROM 1) FROM hypercube.atom AS a WHERE codepoint = %s", ord(text))


class TestDigests:
    @pytest.mark.parametrize(
        "call",
        [
            "composition_text(%s)", "composition_bytes(%s)", "children(%s)", "parents(%s)", "depth(%s)",
            "centroid(%s)",
            "distance(%s, hypercube.find_composition('we'))",
            "distance(hypercube.find_composition('we'), %s)",
            "contains(%s, hypercube.find_composition('we'))",
            "contains(hypercube.find_composition('we'), %s)",
            "semantic_neighbors(%s, 2, 'shared')", "semantic_neighbors(%s, 2, 'own')", "drop_composition(%s)",
            "_find_composition(%s)",
        ],
    )  # fmt: skip
    def test_a_digest_that_somebody_guesses_is_of_nothing(self, tenants, call):
        """Known texts have known digests: whether they are stored is told of one's own alone."""
        expected = outcome(tenants.bob, call, b"\0" * 32)
        assert expected[0] == "42704"
        for text in GUESSES:
            assert outcome(tenants.bob, call, digest_of(tenants.amy, text)) == expected, text

    def test_the_owner_is_told(self, tenants):
        for text in GUESSES[:4]:
            assert (
                one(tenants.ann, "SELECT hypercube.composition_text(%s)", digest_of(tenants.ann, text))
                == text
            )

    def test_a_label_is_looked_up_among_what_is_seen(self, tenants):
        for text in GUESSES:
            assert one(tenants.bob, "SELECT hypercube.find_composition(%s)", text) is None
        assert one(tenants.ann, "SELECT hypercube.find_composition('quokka')") is not None

    def test_a_digest_is_a_key_to_no_table(self, tenants):
        known = [digest_of(tenants.amy, text) for text in GUESSES]
        known += [digest for (digest,) in rows(
            tenants.amy,
            "SELECT digest FROM hypercube.tensor AS t JOIN hypercube.model AS m ON m.id = t.model_id"
            " WHERE m.name = 'hidden' AND t.name = m.embedding"
            " UNION ALL SELECT digest FROM hypercube.document WHERE name IN ('diary', 'plan')"
            " UNION ALL SELECT composition_id FROM hypercube.document WHERE name IN ('diary', 'plan')"
            " UNION ALL SELECT root FROM hypercube.model WHERE name = 'hidden'",
        )]  # fmt: skip
        columns = rows(
            tenants.bob,
            "SELECT c.relname, a.attname FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid"
            " WHERE c.relnamespace = 'hypercube'::regnamespace AND c.relkind IN ('r', 'v')"
            " AND a.atttypid = 'bytea'::regtype AND has_table_privilege(c.oid, 'SELECT')",
        )
        assert len(columns) > 12
        for relation, column in columns:
            statement = f'SELECT count(*) FROM hypercube.{relation} WHERE "{column}" = ANY (%s)'
            assert one(tenants.bob, statement, known) == 0, (relation, column)
        assert one(tenants.ann, "SELECT count(*) FROM hypercube.composition WHERE id = ANY (%s)", known) >= 5

    def test_bytes_of_equal_tensors_are_read_through_a_model_that_is_seen(self, tenants):
        """A row of one's own that names the digest is all there is to go by, and nobody writes one."""
        told = rows(tenants.bob, "SELECT change FROM hypercube.model_diff('own', 'lent')")
        assert {change for (change,) in told} == {"equal", "changed"}
        with pytest.raises(psycopg.errors.UndefinedObject):
            tenants.bob.execute("SELECT * FROM hypercube.model_diff('own', 'hidden')")


class TestEqualContent:
    """The same calls in a database in which ann has all of it, and in one in which nobody has anything."""

    @pytest.fixture
    def alone(self, server, tenants):
        name = f"{tenants.name}_alone"
        with server.connect(dbname="postgres", autocommit=True) as db:
            db.execute(f"CREATE DATABASE {name} TEMPLATE blank")
            with server.connect(dbname=name, autocommit=True) as root:
                root.execute("SELECT hypercube.allow_source(%s)", (str(tenants.folder),))
            with server.connect(dbname=name, user="amy", autocommit=True) as amy:
                amy.execute("SELECT hypercube.ingest(%s)", (f"{tenants.folder}/shared",))
                amy.execute("SELECT hypercube.grant_model('shared', 'public')")
            yield lambda: server.connect(dbname=name, user="bob", autocommit=True)
            db.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def told(self, db, statement):
        """Return rows and notices of a call but for what is measured in seconds."""
        notices = []
        db.add_notice_handler(lambda notice: notices.append(notice.message_primary.split("[")[0]))
        cursor = db.execute(f"SELECT * FROM hypercube.{statement}")
        names = [column.name for column in cursor.description]
        found = [dict(zip(names, row, strict=True)) for row in cursor]
        for row in found:
            row.pop("seconds", None)
            row.pop("residual", None)
        # Long work tells its progress by the clock.
        return found, sorted(set(notices))

    def test_reports_and_notices_are_equal(self, tenants, alone):
        folder = f"{tenants.folder}/hidden"
        calls = (
            f"ingest('{folder}', 'copy', 4)",
            "model_report('copy')",
            f"ingest_text('guess', '{SECRET_TEXT} We sell it all.', 'shared')",
            f"ingest_text('probe', '{SECRET_TEXT} We go.', 'shared', vectors => false)",
            "embed_documents('shared')",
            f"ingest_text('silent', '{SECRET_TEXT}', 'shared', vectors => false)",
            "drop_document('silent')",
            "search('plan', 3, 'shared')",
            "search_text('quokka')",
            "ingest_text('probe', 'We go and go.', 'shared', replace => true)",
            "compose('xylophone')",
            "drop_composition(hypercube.composition_id('xylophone'))",
            "drop_document('guess')",
            "drop_document('probe')",
            "relate_sequences('copy', 1, 1)",
            "read_documents('copy')",
            "verify_model('copy')",
            "continuations('we', 3, 'copy')",
            "drop_model('copy')",
        )
        # Otherwise there is something that bob sees in only one of the two.
        for statement in ("SELECT hypercube.drop_document('notes')", "SELECT hypercube.drop_model('own')"):
            tenants.bob.execute(statement)
        tenants.ann.execute("SELECT hypercube.revoke_document('open letter', 'public')")
        tenants.ann.execute("SELECT hypercube.revoke_document('lent letter', 'bob')")
        tenants.ann.execute("SELECT hypercube.revoke_model('lent', 'bob')")
        try:
            with tenants.connect("bob") as together, alone() as other:
                for call in calls:
                    assert self.told(together, call) == self.told(other, call), call
        finally:
            tenants.bob.execute("SELECT hypercube.ingest(%s, 'own', 4)", (f"{tenants.folder}/own",))
            tenants.bob.execute("SELECT hypercube.ingest_text('notes', 'We meet at noon. We go.', 'shared')")
            tenants.ann.execute("SELECT hypercube.grant_document('open letter', 'public')")
            tenants.ann.execute("SELECT hypercube.grant_document('lent letter', 'bob')")
            tenants.ann.execute("SELECT hypercube.grant_model('lent', 'bob')")

    def test_relations_for_all_are_made_from_what_their_owner_may_show(self, tenants):
        """Also when an admin makes them, who sees every document."""
        tenants.amy.execute("SELECT hypercube.relate_sequences('shared', 1, 1)")
        found = rows(
            tenants.bob, "SELECT source, target FROM hypercube.relation_overview WHERE kind = 'sequence'"
        )
        assert ("plan", "is") in found and ("sell", "it") not in found
        tenants.amy.execute("SELECT hypercube.relate_sequences('shared', 1, NULL)")


class TestUploads:
    def test_an_upload_of_another_is_not_there(self, tenants):
        mine = one(tenants.ann, "SELECT id FROM hypercube.upload")
        assert rows(tenants.bob, "SELECT * FROM hypercube.upload") == []
        for call in ("upload_part(%s, 0, 'x')", "upload_finish(%s, 'x')"):
            told = []
            for number in (mine, uuid.uuid4()):
                error, message, hint = outcome(tenants.bob, call, number)
                assert error == "42704"
                told.append((message.replace(str(number), "*"), hint))
            assert told[0] == told[1]
        assert one(tenants.bob, "SELECT hypercube.upload_cancel('zanzibar upload')") == 0
        assert one(tenants.ann, "SELECT count(*) FROM hypercube.upload") == 1

    def test_a_model_is_made_of_ones_own_files(self, tenants):
        with pytest.raises(psycopg.errors.UndefinedFile, match="nothing was uploaded"):
            tenants.bob.execute("SELECT hypercube.ingest_upload('zanzibar upload')")
        assert (
            outcome(tenants.bob, "ingest_upload('zanzibar upload')")[2]
            == outcome(tenants.bob, "ingest_upload('no upload')")[2]
        )


@contextmanager
def allowed(tenants, folder, role):
    tenants.postgres.execute("SELECT hypercube.allow_source(%s, %s)", (str(folder), role))
    yield
    tenants.postgres.execute("SELECT hypercube.disallow_source(%s)", (str(folder),))


class TestPaths:
    @pytest.fixture
    def apart(self, sources):
        """A folder of ann's alone and one of bob's, each with a model."""
        for role in ("ann", "bob"):
            write_model(sources / role / "m", vectors(30))
            os.chmod(sources / role, 0o755)
        return sources

    def test_a_folder_of_another_role_is_as_closed_as_any(self, tenants, apart):
        with allowed(tenants, apart / "ann", "ann"), allowed(tenants, apart / "bob", "bob"):
            assert (
                rows(tenants.bob, "SELECT path FROM hypercube.allowed_source WHERE path LIKE '%%/ann'") == []
            )
            bob, ann = apart / "bob", apart / "ann"
            os.symlink(ann / "m", bob / "link")
            os.symlink(ann, bob / "up")
            (bob / "half").mkdir()
            os.symlink(ann / "m" / "model.safetensors", bob / "half" / "model.safetensors")
            (bob / "small").mkdir()
            os.link(bob / "m" / "model.safetensors", bob / "small" / "model.safetensors")
            os.symlink(ann / "m" / "tokenizer.json", bob / "small" / "tokenizer.json")
            for path in (
                ann / "m", ann, f"{bob}/../ann/m", f"{bob}/m/../../ann/m", bob / "link", bob / "up" / "m",
                bob / "half", bob / "half" / "model.safetensors", bob / "small", ann / "missing", "/etc",
                "/etc/passwd", "/root",
                "/proc/self/root/etc", "/proc/self/environ", "/proc/self/fd/0", "/dev/stdin", "/dev/zero",
                "/dev/shm",
                "/", f"//{ann}/m", f"{ann}/m/", f"{bob}/./../ann/m/model.safetensors", f"{bob}x",
            ):  # fmt: skip
                with pytest.raises(psycopg.errors.InsufficientPrivilege, match="not inside a folder"):
                    tenants.bob.execute("SELECT hypercube.ingest(%s, 'x')", (str(path),))
            # Whether it is there or not, no folder of the server but these says.
            told = [
                outcome(tenants.bob, "ingest(%s, 'x')", path) for path in (str(ann / "m"), str(ann / "n"))
            ]
            assert told[0][0] == told[1][0] and told[0][1].replace("/m", "/n") == told[1][1]
            tenants.bob.execute("SELECT hypercube.ingest(%s, 'of bob')", (str(bob / "m"),))
            tenants.bob.execute("SELECT hypercube.drop_model('of bob')")

    def test_what_is_no_path_is_refused(self, tenants):
        for path in ("", ".", "m", "../m", "~", "~postgres", "file:///etc", "|id", "$HOME", "\n/etc"):
            with pytest.raises(psycopg.errors.InvalidParameterValue, match="absolute path"):
                tenants.bob.execute("SELECT hypercube.ingest(%s, 'x')", (path,))

    def test_a_tokenizer_is_a_file_beside_the_weights(self, tenants, apart):
        with allowed(tenants, apart / "bob", "bob"):
            os.symlink("/etc/passwd", apart / "bob" / "m" / "link.json")
            for name in (
                "../../ann/m/tokenizer.json",
                "/etc/passwd",
                "link.json",
                "/proc/self/environ",
                "..",
            ):
                with pytest.raises(psycopg.Error) as refusal:
                    tenants.bob.execute(
                        "SELECT hypercube.ingest(%s, 'x', tokenizer => %s)", (f"{apart}/bob/m", name)
                    )
                assert refusal.value.sqlstate in ("42501", "22023", "58P01"), name
                assert "root:" not in str(refusal.value)

    def test_a_folder_loses_its_right_with_its_role(self, tenants, apart):
        with allowed(tenants, apart / "bob", "bob"):
            tenants.bob.execute("SELECT hypercube.ingest(%s, 'of bob')", (f"{apart}/bob/m",))
            tenants.bob.execute("SELECT hypercube.drop_model('of bob')")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            tenants.bob.execute("SELECT hypercube.ingest(%s, 'of bob')", (f"{apart}/bob/m",))

    def test_tenants_open_no_folder_neither_to_read_nor_to_write(self, tenants):
        for role in ("ann", "bob", "amy"):
            for call in ("allow_source('/etc')", "allow_source('/etc', current_user)",
            "disallow_source('/tmp')",
                         "allow_target('/tmp')", "disallow_target('/tmp')"):  # fmt: skip
                with pytest.raises(psycopg.errors.InsufficientPrivilege, match="may not decide"):
                    getattr(tenants, role).execute(f"SELECT hypercube.{call}")

    def test_nothing_is_exported_of_others_or_to_where_it_is_not_allowed(self, tenants, apart):
        target = apart / "out"
        target.mkdir()
        os.chmod(target, 0o777)
        tenants.postgres.execute("SELECT hypercube.allow_target(%s, 'bob')", (str(target),))
        os.symlink(apart / "ann", target / "link")
        for name, path, error in (
            ("hidden", target / "a", "42704"), ("lent", target / "b", "42501"), ("own", apart / "ann",
            "42501"),
            ("own", f"{target}/../ann", "42501"), ("own", target / "link", "42501"), ("own",
            "/proc/self/cwd", "42501"),
            ("own", one(tenants.postgres, "SHOW data_directory"), "42501"), ("own", "out", "22023"),
        ):  # fmt: skip
            assert outcome(tenants.bob, "export_model(%s, %s)", name, str(path))[0] == error, (name, path)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            tenants.ann.execute("SELECT hypercube.export_model('hidden', %s)", (f"{target}/c",))
        assert sorted(os.listdir(target)) == ["link"]
        tenants.postgres.execute("SELECT hypercube.disallow_target(%s)", (str(target),))
