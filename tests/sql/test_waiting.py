"""What somebody asked for is decided again after he waited, and most of what is asked waits for nobody."""

import psycopg
import pytest

from people import name_of
from rows import ingest, one
from small_models import vectors, write_model
from waiting import WRITERS, Waiting

OWNS = "SELECT owner, readers FROM hypercube.{} WHERE name = '{}'"


@pytest.fixture
def model(sources):
    return write_model(sources / "m", vectors(60))


@pytest.fixture
def ann(people, model):
    """A session of a role that owns model "m" and document "d", which everybody sees."""
    connection = people("hypercube_ingest")
    ingest(connection, model, "m", 4)
    connection.execute("SELECT hypercube.ingest_text('d', 'Waab waac.', 'm')")
    connection.execute("SELECT hypercube.grant_model('m', 'public'), hypercube.grant_document('d', 'public')")
    return connection


class TestDecidedAgain:
    CALLS = ("drop_model('m')", "relate_sequences('m')")

    @pytest.mark.parametrize("call", CALLS)
    def test_a_model_that_was_given_away_meanwhile_is_no_longer_ones_own(self, own, people, ann, call):
        with own.transaction():
            own.execute(WRITERS)
            asked = Waiting(ann, f"SELECT hypercube.{call}", own)
            own.execute("SELECT hypercube.give_model('m', %s)", (people.role("hypercube_ingest"),))

        assert f'role "{name_of(ann)}" does not own model "m"' in asked.error().diag.message_primary
        assert asked.error().sqlstate == "42501"
        assert one(own, "SELECT count(*) FROM hypercube.model") == 1

    @pytest.mark.parametrize("call", CALLS)
    def test_nor_is_somebody_elses_of_its_name(self, own, ann, model, call):
        with own.transaction():
            own.execute("SELECT hypercube.drop_model('m')")
            asked = Waiting(ann, f"SELECT hypercube.{call}", own)
            ingest(own, model, "m", 4)
            own.execute("SELECT hypercube.grant_model('m', 'public')")

        assert asked.error().sqlstate == "42501"
        assert one(own, "SELECT owner FROM hypercube.model") == "postgres"
        assert one(own, "SELECT bool_and(ok) FROM hypercube.verify_model('m')")

    @pytest.mark.parametrize(
        "kind, name, call",
        [
            ("model", "m", "drop_model('m')"),
            ("document", "d", "drop_document('d')"),
            ("document", "d", "ingest_text('d', 'Waad.', 'm', replace => true)"),
        ],
    )
    def test_what_is_given_away_while_it_is_removed_stays_with_the_heir(
        self, own, people, ann, kind, name, call
    ):
        """Who gives away holds no lock of the writers: the row itself tells whose it is."""
        heir = people.role("hypercube_ingest")
        with own.transaction():
            own.execute(f"SELECT hypercube.give_{kind}(%s, %s)", (name, heir))
            asked = Waiting(ann, f"SELECT hypercube.{call}", own)

        assert asked.error().sqlstate == "42501"
        assert own.execute(OWNS.format(kind, name)).fetchone() == (heir, ["public"])
        assert one(own, "SELECT hypercube.document_text('d')") == "Waab waac."
        assert one(own, "SELECT bool_and(ok) FROM hypercube.verify_model('m')")

    def test_a_folder_that_is_for_nobody_any_more_is_not_read(self, own, ann, model, sources):
        with own.transaction():
            own.execute(WRITERS)
            asked = Waiting(ann, f"SELECT hypercube.ingest('{model}', 'again', 4)", own)
            own.execute("SELECT hypercube.disallow_source(%s)", (str(sources),))

        assert asked.error().sqlstate == "42501"
        assert one(own, "SELECT count(*) FROM hypercube.model") == 1

    @pytest.mark.parametrize("kind, name", [("model", "m"), ("document", "d")])
    @pytest.mark.parametrize("change", ["grant_{}('{}', 'hypercube_reader')", "revoke_{}('{}', 'public')"])
    def test_who_gave_it_away_meanwhile_no_longer_decides_who_sees_it(
        self, own, people, ann, kind, name, change
    ):
        heir = people.role("hypercube_ingest")
        with own.transaction():
            own.execute(f"SELECT hypercube.give_{kind}(%s, %s)", (name, heir))
            asked = Waiting(ann, f"SELECT hypercube.{change.format(kind, name)}", own)

        assert asked.value() is False
        assert own.execute(OWNS.format(kind, name)).fetchone() == (heir, ["public"])

    @pytest.mark.parametrize("kind, name", [("model", "m"), ("document", "d")])
    def test_nor_to_whom_it_is_given_next(self, own, people, ann, kind, name):
        heir, friend = people.role("hypercube_ingest"), people.role("hypercube_ingest")
        own.execute(f"GRANT {friend} TO {name_of(ann)}")
        with own.transaction():
            own.execute(f"SELECT hypercube.give_{kind}(%s, %s)", (name, heir))
            asked = Waiting(ann, f"SELECT hypercube.give_{kind}('{name}', '{friend}')::text", own)

        assert asked.error().diag.message_primary.endswith(
            f'{kind} "{name}" was given away or removed meanwhile'
        )
        assert asked.error().sqlstate == "42501"
        assert own.execute(OWNS.format(kind, name)).fetchone() == (heir, ["public"])


class TestNotHeldUp:
    def test_who_decides_about_what_he_owns_does_not_wait_for_a_writer(self, own, people, ann):
        """Who stored something and went for lunch with his transaction open holds up writers, not owners."""
        friend = people.role("hypercube_reader")
        ann.execute("SET statement_timeout = '10s'")
        with own.transaction():
            own.execute("SELECT hypercube.ingest_text('another', 'Waad.', 'm')")
            with pytest.raises(psycopg.errors.LockNotAvailable), ann.transaction():
                ann.execute("SET LOCAL lock_timeout = '200ms'")
                ann.execute("SELECT hypercube.drop_model('m')")
            for kind, name in (("model", "m"), ("document", "d")):
                for change in ("grant", "revoke"):
                    assert one(ann, f"SELECT hypercube.{change}_{kind}(%s, %s)", name, friend)
        assert own.execute(OWNS.format("model", "m")).fetchone() == (name_of(ann), ["public"])

    def test_who_begins_an_upload_does_not_wait_for_an_old_one(self, own, people):
        """One that nobody touched for a day is removed unless somebody has it in hand after all."""
        bob, carl = people("hypercube_ingest"), people("hypercube_ingest")
        old = one(bob, "SELECT hypercube.upload_begin('old', 'model.safetensors')")
        bob.execute("SELECT hypercube.upload_begin('older', 'model.safetensors')")
        own.execute("UPDATE hypercube.upload SET touched_at = now() - interval '25 hours'")
        names = "SELECT array_agg(name ORDER BY name) FROM hypercube.upload"
        carl.execute("SET statement_timeout = '10s'")
        with bob.transaction():
            bob.execute("SELECT hypercube.upload_part(%s, 0, 'abc')", (old,))
            carl.execute("SELECT hypercube.upload_begin('new', 'model.safetensors')")
        assert one(own, names) == ["new", "old"]
        assert one(own, "SELECT octet_length(data) FROM hypercube.upload_part") == 3
