"""Limits of roles: who sets them, whom they hold, what they refuse."""

import threading
import time
from pathlib import Path

import pytest
from blake3 import blake3

from people import name_of, refused
from rows import one
from small_models import vectors, write_model

INGEST = "SELECT model FROM hypercube.ingest(%s, %s, 4)"
TEXT = "SELECT document FROM hypercube.ingest_text(%s, %s, vectors => false)"
PART = "SELECT hypercube.upload_part(%s, %s, %s)"
# Bytes of the tensors of the model.
TENSORS = 60 * 16 * 4 + 16 * 16 * 4


@pytest.fixture
def model(sources):
    return write_model(sources / "m", vectors(60))


def uses(connection):
    """What the caller is held to, and how much of it he uses."""
    rows = connection.execute("SELECT what, value, role, used FROM hypercube.limit_overview").fetchall()
    return {what: rest for what, *rest in rows}


class TestWhoDecides:
    def test_members_of_hypercube_admin_and_superusers_set_limits(self, own, people):
        admin = people("hypercube_admin")
        admin.execute("SELECT hypercube.set_limit('hypercube_reader', 'k', 50)")
        own.execute("SELECT hypercube.set_limit('public', 'models', 0)")
        rows = own.execute("SELECT role, what, value, set_by FROM hypercube.role_limit ORDER BY role")
        assert rows.fetchall() == [
            ("hypercube_reader", "k", 50, name_of(admin)),
            ("public", "models", 0, "postgres"),
        ]

    @pytest.mark.parametrize("call", ["set_limit('public', 'k', 1)", "unset_limit('public', 'k')"])
    def test_nobody_else_does_even_with_the_right_to_call(self, own, people, call):
        bob = people("hypercube_ingest")
        refused(bob, f"SELECT hypercube.{call}", "InsufficientPrivilege")
        both = "hypercube.set_limit, hypercube.unset_limit"
        own.execute(f"GRANT EXECUTE ON FUNCTION {both} TO hypercube_ingest")
        told = refused(bob, f"SELECT hypercube.{call}", "InsufficientPrivilege")
        assert "may not decide on limits" in told.message_primary
        assert "GRANT hypercube_admin" in told.message_hint

    def test_a_limit_is_replaced_and_taken_back(self, own, people):
        ann = people.role("hypercube_reader")
        own.execute("SELECT hypercube.set_limit(%s, 'k', 50), hypercube.set_limit(%s, 'k', 60)", (ann, ann))
        assert one(own, "SELECT value FROM hypercube.role_limit") == 60
        assert one(own, "SELECT hypercube.unset_limit(%s, 'k')", ann)
        assert not one(own, "SELECT hypercube.unset_limit(%s, 'k')", ann)
        assert one(own, "SELECT count(*) FROM hypercube.role_limit") == 0

    @pytest.mark.parametrize(
        ("arguments", "kind", "message"),
        [
            ("'nobody_here', 'k', 1", "UndefinedObject", 'role "nobody_here" does not exist'),
            ("NULL, 'k', 1", "UndefinedObject", "the role must not be null"),
            ("'public', 'wishes', 1", "InvalidParameterValue", '"wishes" cannot be limited'),
            ("'public', NULL, 1", "InvalidParameterValue", "must not be null"),
            ("'public', 'k', -1", "InvalidParameterValue", "out of range: -1"),
            ("'public', 'k', NULL", "InvalidParameterValue", "out of range: null"),
        ],
    )
    def test_a_limit_needs_a_role_a_kind_and_a_number(self, own, arguments, kind, message):
        told = refused(own, f"SELECT hypercube.set_limit({arguments})", kind)
        assert message in told.message_primary
        if "limited" in message:
            assert "models, stored_bytes, documents, ingests, questions, k, batch" in told.message_hint

    def test_the_limit_of_a_role_that_is_gone_holds_nobody_and_can_be_taken_back(self, own, people):
        own.execute("CREATE ROLE soon_gone")
        own.execute("SELECT hypercube.set_limit('soon_gone', 'k', 1)")
        own.execute("DROP ROLE soon_gone")
        assert uses(people("hypercube_reader")) == {}
        assert uses(own) == {}
        assert one(own, "SELECT hypercube.unset_limit('soon_gone', 'k')")
        refused(own, "SELECT hypercube.unset_limit('soon_gone', 'k')", "UndefinedObject")

    @pytest.mark.parametrize("group", ["hypercube_reader", "hypercube_admin"])
    @pytest.mark.parametrize(
        "statement",
        [
            "INSERT INTO hypercube.role_limit VALUES ('public', 'k', 1, 'me')",
            "UPDATE hypercube.role_limit SET value = 1000",
            "DELETE FROM hypercube.role_limit",
            "TRUNCATE hypercube.role_limit",
            "SELECT FROM hypercube.limit_turn FOR UPDATE",
        ],
    )
    def test_the_tables_are_written_by_these_functions_alone(self, people, group, statement):
        refused(people(group), statement, "InsufficientPrivilege")


class TestWhoIsHeld:
    def test_everybody_sees_what_concerns_him(self, people):
        team = people.role()
        ann, bob = people("hypercube_reader", team), people("hypercube_reader")
        for role in ("public", team, name_of(bob), "hypercube_auditor"):
            people.limit(role, "k", 10)
        seen = "SELECT role FROM hypercube.role_limit"
        assert {row[0] for row in ann.execute(seen)} == {"public", team}
        assert {row[0] for row in bob.execute(seen)} == {"public", name_of(bob)}
        assert len(people("hypercube_admin").execute(seen).fetchall()) == 4

    def test_a_row_of_the_role_itself_comes_first_then_the_least_of_its_groups_then_that_of_all(self, people):
        small, large = people.role(), people.role()
        ann = people("hypercube_reader", small, large)
        people.limit("public", "k", 5)
        assert uses(ann) == {"k": [5, "public", None]}
        people.limit(large, "k", 100)
        assert uses(ann) == {"k": [100, large, None]}
        people.limit(small, "k", 20)
        assert uses(ann) == {"k": [20, small, None]}
        people.limit(name_of(ann), "k", 500)
        assert uses(ann) == {"k": [500, name_of(ann), None]}

    def test_groups_of_groups_count_and_members_that_inherit_nothing(self, own, people):
        outer = people.role()
        inner = people.role(outer)
        ann = people("hypercube_reader", inner)
        people.limit(outer, "k", 7)
        assert uses(ann) == {"k": [7, outer, None]}
        own.execute(f"ALTER ROLE {name_of(ann)} NOINHERIT")
        own.execute(f"ALTER ROLE {inner} NOINHERIT")
        assert one(own, f"SELECT value FROM hypercube._find_limit('{name_of(ann)}'::regrole, 'k')") == 7

    def test_who_administers_is_held_to_a_row_of_his_own_alone(self, own, people):
        admin = people("hypercube_admin")
        for role in ("public", "hypercube_reader", "hypercube_admin"):
            people.limit(role, "k", 5)
        assert (uses(admin), uses(own)) == ({}, {})
        people.limit(name_of(admin), "k", 3)
        own.execute("SELECT hypercube.set_limit('postgres', 'k', 4)")
        assert uses(admin) == {"k": [3, name_of(admin), None]}
        assert uses(own) == {"k": [4, "postgres", None]}

    def test_the_role_that_was_set_is_the_one_that_calls(self, people):
        team = people.role("hypercube_reader")
        ann = people("hypercube_reader", team)
        people.limit(name_of(ann), "k", 5)
        people.limit(team, "k", 9)
        ann.execute(f"SET ROLE {team}")
        assert uses(ann) == {"k": [9, team, None]}

    def test_a_name_that_has_to_be_quoted_is_a_name_like_others(self, own):
        own.execute('CREATE ROLE "O\'Neil ""x""" LOGIN IN ROLE hypercube_reader')
        try:
            own.execute("SELECT hypercube.set_limit('O''Neil \"x\"', 'k', 2)")
            own.execute('SET ROLE "O\'Neil ""x"""')
            assert uses(own) == {"k": [2, 'O\'Neil "x"', None]}
            told = refused(own, "SELECT hypercube.spatial_neighbors('a', 3)", "ProgramLimitExceeded")
            assert "set_limit('O''Neil \"x\"', 'k', ...)" in told.message_hint
        finally:
            own.execute("RESET ROLE")
            own.execute("SELECT hypercube.unset_limit('O''Neil \"x\"', 'k')")
            own.execute('DROP ROLE "O\'Neil ""x"""')


class TestModels:
    def test_a_role_owns_as_many_as_it_may(self, people, model):
        bob = people("hypercube_ingest")
        people.limit("hypercube_ingest", "models", 1)
        bob.execute(INGEST, (model, "a"))
        told = refused(bob, INGEST, "ConfigurationLimitExceeded", model, "b")
        assert f'role "{name_of(bob)}" is limited to 1 models' in told.message_primary
        assert "1 are used, 1 more would be." in told.message_detail
        assert 'The limit was set for role "hypercube_ingest".' in told.message_detail
        assert f"SELECT hypercube.set_limit('{name_of(bob)}', 'models', ...)" in told.message_hint
        assert uses(bob)["models"] == [1, "hypercube_ingest", 1]
        bob.execute("SELECT hypercube.drop_model('a')")
        bob.execute(INGEST, (model, "b"))

    def test_those_of_others_do_not_count_and_nothing_may_be_allowed(self, own, people, model):
        own.execute(INGEST, (model, "root"))
        bob, eve = people("hypercube_ingest"), people("hypercube_ingest")
        people.limit("public", "models", 1)
        people.limit(name_of(eve), "models", 0)
        bob.execute(INGEST, (model, "of_bob"))
        refused(eve, INGEST, "ConfigurationLimitExceeded", model, "of_eve")

    def test_two_sessions_at_once_get_no_more(self, people, model):
        bob = people.role("hypercube_ingest")
        people.limit(bob, "models", 1)
        first, second = people.connect(bob), people.connect(bob)
        told = []
        with first.transaction():
            first.execute(INGEST, (model, "a"))
            asking = threading.Thread(
                target=lambda: told.append(refused(second, INGEST, "ConfigurationLimitExceeded", model, "b"))
            )
            asking.start()
            time.sleep(1)
            assert asking.is_alive()
        asking.join()
        assert len(told) == 1


def kept(folder, tensors):
    """Return the bytes that a model counts with: those of its tensors, its header and its small files."""
    whole = sum(path.stat().st_size for path in Path(folder).iterdir())
    # The length of the header stands before it, and is not kept.
    return whole - 8 - TENSORS + tensors


class TestGifts:
    def test_a_model_is_given_to_a_role_that_has_room_for_it(self, own, people, model):
        team = people.role("hypercube_ingest")
        bob = people("hypercube_ingest", team)
        bob.execute(INGEST, (model, "a"))
        give = "SELECT hypercube.give_model('a', %s)"
        people.limit(team, "models", 0)
        told = refused(bob, give, "ConfigurationLimitExceeded", team)
        assert f'role "{team}" is limited to 0 models' in told.message_primary
        people.limit(team, "models", 1)
        people.limit(team, "stored_bytes", kept(model, TENSORS) - 1)
        refused(bob, give, "ConfigurationLimitExceeded", team)
        people.limit(team, "stored_bytes", kept(model, TENSORS))
        bob.execute(give, (team,))
        # To whom it belongs already it is no gift.
        bob.execute(give, (team,))
        assert one(own, "SELECT owner FROM hypercube.model") == team

    def test_so_is_a_document(self, own, people):
        team = people.role("hypercube_ingest")
        bob = people("hypercube_ingest", team)
        bob.execute(TEXT, ("a", "äöü"))
        give = "SELECT hypercube.give_document('a', %s)"
        people.limit(team, "documents", 0)
        refused(bob, give, "ConfigurationLimitExceeded", team)
        people.limit(team, "documents", 1)
        people.limit(team, "stored_bytes", 5)
        refused(bob, give, "ConfigurationLimitExceeded", team)
        people.limit(team, "stored_bytes", 6)
        bob.execute(give, (team,))
        assert one(own, "SELECT owner FROM hypercube.document") == team


class TestDocuments:
    def test_as_many_are_stored_as_may_be_and_one_is_put_in_the_place_of_another(self, people):
        bob = people("hypercube_ingest")
        people.limit(name_of(bob), "documents", 2)
        both = "SELECT count(*) FROM hypercube.ingest_texts(%s::text[], %s::text[], replace => %s)"
        refused(bob, both, "ConfigurationLimitExceeded", list("abc"), ["x"] * 3, False)
        assert one(bob, both, list("ab"), ["x", "y"], False) == 2
        refused(bob, TEXT, "ConfigurationLimitExceeded", "c", "z")
        assert one(bob, both, list("ab"), ["v", "w"], True) == 2
        refused(bob, both, "ConfigurationLimitExceeded", list("bc"), ["v", "w"], True)
        assert uses(bob)["documents"][2] == 2
        bob.execute("SELECT hypercube.drop_document('a')")
        bob.execute(TEXT, ("c", "z"))


class TestStoredBytes:
    def test_texts_count_in_utf8(self, people):
        bob = people("hypercube_ingest")
        people.limit(name_of(bob), "stored_bytes", 10)
        bob.execute(TEXT, ("a", "äöü"))
        assert uses(bob)["stored_bytes"][2] == 6
        told = refused(bob, TEXT, "ConfigurationLimitExceeded", "b", "12345")
        assert "6 are used, 5 more would be." in told.message_detail
        bob.execute(TEXT, ("b", "1234"))
        bob.execute("SELECT * FROM hypercube.ingest_text('b', '12', replace => true, vectors => false)")
        assert uses(bob)["stored_bytes"][2] == 8
        # Metadata count as well.
        beside = "SELECT * FROM hypercube.ingest_text('c', '', metadata => %s, vectors => false)"
        refused(bob, beside, "ConfigurationLimitExceeded", '{"a": 1}')
        bob.execute(beside, ("{}",))
        assert uses(bob)["stored_bytes"][2] == 10

    def test_tensors_count_where_their_bytes_are_kept(self, own, people, model):
        bob = people("hypercube_ingest")
        size = kept(model, TENSORS)
        people.limit(name_of(bob), "stored_bytes", size - 1)
        refused(bob, INGEST, "ConfigurationLimitExceeded", model, "a")
        bob.execute("SELECT * FROM hypercube.ingest(%s, 'some', store => 'embeddings')", (model,))
        assert uses(bob)["stored_bytes"][2] == kept(model, 60 * 16 * 4)
        bob.execute("SELECT hypercube.drop_model('some')")
        bob.execute("SELECT * FROM hypercube.ingest(%s, 'none', store => 'none')", (model,))
        assert uses(bob)["stored_bytes"][2] == kept(model, 0)
        people.limit(name_of(bob), "stored_bytes", kept(model, 0) + size)
        bob.execute(INGEST, (model, "a"))
        assert uses(bob)["stored_bytes"][2] == kept(model, 0) + size

    def test_uploads_count_until_they_are_a_model(self, people, sources, model):
        bob = people("hypercube_ingest")
        people.limit(name_of(bob), "stored_bytes", 100_000)
        whole = 0
        for path in ("model.safetensors", "tokenizer.json", "config.json"):
            data = (sources / "m" / path).read_bytes()
            number = one(bob, "SELECT hypercube.upload_begin('up', %s)", path)
            bob.execute(PART, (number, 0, data))
            # Again is no more than once.
            bob.execute(PART, (number, 0, data))
            bob.execute("SELECT hypercube.upload_finish(%s, %s)", (number, blake3(data).digest()))
            whole += len(data)
        assert uses(bob)["stored_bytes"][2] == whole
        # Room for the parts is room for the model that takes their place.
        people.limit(name_of(bob), "stored_bytes", whole)
        bob.execute("SELECT * FROM hypercube.ingest_upload('up')")
        assert uses(bob)["stored_bytes"][2] == kept(sources / "m", TENSORS)

    def test_a_part_that_does_not_fit_is_refused(self, people):
        bob = people("hypercube_ingest")
        people.limit(name_of(bob), "stored_bytes", 1000)
        number = one(bob, "SELECT hypercube.upload_begin('up', 'model.safetensors')")
        bob.execute(PART, (number, 0, b"x" * 600))
        refused(bob, PART, "ConfigurationLimitExceeded", number, 1, b"x" * 401)
        bob.execute(PART, (number, 0, b"x" * 1000))
        bob.execute(PART, (number, 0, b"x"))
        bob.execute(PART, (number, 1, b"x" * 999))

    def test_sessions_that_store_at_once_wait_for_each_other_and_see_what_was_stored(self, people):
        bob = people.role("hypercube_ingest")
        people.limit(bob, "stored_bytes", 1000)
        first, second, told = people.connect(bob), people.connect(bob), []
        number = one(second, "SELECT hypercube.upload_begin('b', 'model.safetensors')")

        def send():
            told.append(refused(second, PART, "ConfigurationLimitExceeded", number, 0, b"x" * 600))

        with first.transaction():
            other = one(first, "SELECT hypercube.upload_begin('a', 'model.safetensors')")
            first.execute(PART, (other, 0, b"x" * 600))
            sending = threading.Thread(target=send)
            sending.start()
            time.sleep(0.5)
            assert sending.is_alive()
        sending.join()
        assert "600 are used, 600 more would be." in told[0].message_detail

    def test_a_snapshot_of_before_is_no_way_around(self, people):
        bob = people("hypercube_ingest")
        people.limit(name_of(bob), "stored_bytes", 1000)
        number = one(bob, "SELECT hypercube.upload_begin('up', 'model.safetensors')")
        with bob.transaction():
            bob.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            told = refused(bob, PART, "ObjectNotInPrerequisiteState", number, 0, b"x")
        assert "READ COMMITTED" in told.message_hint


class TestIngestsAtATime:
    @pytest.fixture
    def waiting(self, own, people, model):
        """A role that may run one ingest, and a session of it that waits for somebody else's."""
        bob = people.role("hypercube_ingest")
        people.limit(bob, "ingests", 1)
        first = people.connect(bob)
        with own.transaction():
            own.execute("LOCK TABLE hypercube.writer_turn IN SHARE ROW EXCLUSIVE MODE")
            running = threading.Thread(target=lambda: self.ended.append(self.ingest(first, model)))
            self.ended = []
            running.start()
            time.sleep(1)
            yield bob, first
        running.join()

    def ingest(self, connection, model):
        try:
            return one(connection, INGEST, model, "a")
        except Exception as problem:  # noqa: BLE001 - what a thread met is what the test looks at
            return problem

    def test_one_that_waits_is_one_and_ends(self, people, waiting, model):
        bob, _ = waiting
        second = people.connect(bob)
        assert uses(second)["ingests"] == [1, bob, 1]
        told = refused(second, TEXT, "ConfigurationLimitExceeded", "t", "A text.")
        assert f'role "{bob}" is limited to 1 ingests at a time' in told.message_primary
        assert "1 are running or waiting." in told.message_detail

    def test_one_that_was_killed_is_none(self, own, people, waiting):
        bob, first = waiting
        second = people.connect(bob)
        assert one(own, "SELECT pg_terminate_backend(%s, 5000)", first.info.backend_pid)
        assert uses(second)["ingests"][2] == 0

    def test_one_that_has_ended_or_failed_makes_room(self, people, model):
        bob = people("hypercube_ingest")
        people.limit(name_of(bob), "ingests", 1)
        bob.execute(INGEST, (model, "a"))
        refused(bob, INGEST, "DuplicateObject", model, "a")
        bob.execute(TEXT, ("t", "A text."))
        assert uses(bob)["ingests"][2] == 0
        people.limit(name_of(bob), "ingests", 0)
        refused(bob, TEXT, "ConfigurationLimitExceeded", "u", "A text.")
