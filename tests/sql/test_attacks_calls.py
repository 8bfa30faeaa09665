"""What a tenant tries with functions: names and numbers of others, functions not for him, traps."""

import re

import psycopg
import pytest

from tenants import SECRETS, one, rows

PRIVATE = psycopg.errors.InsufficientPrivilege

# One value for each argument that has to be given, by its name or else by its type.
_VALUES = {
    "explain_question question": "'nearest'",
    "label": "'we'", "scope": "'sentence'", "content": "'We meet.'", "source": "'c'", "path": "'config.json'",
    "directory": "'/tmp'", "role": "'carol'", "method": "'3cosadd'",
    "questions text[]": "'{\"we sell it all\"}'",
    "questions": "'we sell it all'", "pairs text[]": "'{we sell 1}'", "pairs": "'we sell 1'",
    "is_array": "false",
    "analogies questions": "'{{we,sell,it}}'", "b text": "'sell'",
    "c text": "'it'",
    "text": "'we'", "integer": "1", "text[]": "'{we,sell,it}'", "real[]": "'{1,0,0,0}'", "bytea": "'\\x00'",
    "boolean": "false", "double precision": "NULL", "integer[]": "'{1}'", "jsonb[]": "NULL", "jsonb": "NULL",
    "hypercube.token_kind[]": "NULL", "bigint": "1", "uuid": "gen_random_uuid()",
}  # fmt: skip
_MODELS = {"model", "model_a", "model_b"}
_DOCUMENTS = {"document", "documents"}
# Where "name" is that of a document which has to be there.
_OF_DOCUMENTS = {"document_text", "document_bytes", "verify_document", "drop_document"}
# A model that has to be visible is the second thing that these need.
_ELSEWHERE = {"ingest_texts_from"}

_FUNCTIONS = """
    SELECT p.proname, a.name, format_type(a.type, NULL),
        a.place <= p.pronargs - p.pronargdefaults, p.oid::bigint
    FROM pg_proc AS p
    CROSS JOIN LATERAL unnest(p.proargtypes::oid[], p.proargnames[1:p.pronargs])
        WITH ORDINALITY AS a (type, name, place)
    WHERE p.pronamespace = 'hypercube'::regnamespace AND has_function_privilege(p.oid, 'EXECUTE')
    ORDER BY p.oid, a.place
"""


def functions(db):
    """Return (name, [(argument, type, needed)]) of every function that a role may call."""
    found = {}
    for name, argument, kind, needed, oid in rows(db, _FUNCTIONS):
        found.setdefault((oid, name), []).append((argument, kind, needed))
    return [(name, arguments) for (_, name), arguments in found.items()]


def calls(db):
    """Return (what is named, call with %(name)s in its place), for every argument that names either."""
    made = []
    for function, arguments in functions(db):
        for target, kind, _ in arguments:
            model = (
                target in _MODELS
                or function == "model_diff"
                or (function, target) == ("_find_model", "model")
            )
            document = target in _DOCUMENTS or function in _OF_DOCUMENTS and target == "name"
            # With a number of the model, its name is only repeated.
            numbered = "model_id" in {argument for argument, _, _ in arguments}
            if not (model or document) or numbered or function in _ELSEWHERE or kind.startswith("hypercube."):
                continue
            given = []
            for argument, type_, needed in arguments:
                if argument == target:
                    value = "ARRAY[%(name)s]" if kind.endswith("[]") else "%(name)s"
                elif function == "model_diff" or argument in _MODELS:
                    value = "'own'"
                elif needed or function.startswith("_"):
                    value = (
                        _VALUES.get(f"{function.lstrip('_')} {argument}")
                        or _VALUES.get(f"{argument} {type_}")
                        or _VALUES.get(argument)
                        or _VALUES[type_]
                    )
                else:
                    continue
                given.append(f"{argument} => {value}::{type_}")
            made.append(("model" if model else "document", f"hypercube.{function}({', '.join(given)})"))
    return made


def outcome(db, call, name):
    """Return what a call ends in: an error with the name taken out, or rows."""
    try:
        with db.transaction():
            return db.execute(f"SELECT * FROM {call}", {"name": name}).fetchall()
    except psycopg.Error as error:
        told = error.diag
        lines = [told.message_primary, told.message_detail, told.message_hint]
        return error.sqlstate, [line and line.replace(name, "*") for line in lines]


class TestNames:
    def test_a_name_of_another_is_answered_as_one_that_does_not_exist(self, tenants):
        """For every function and every argument of it that names a model or a document."""
        made = calls(tenants.bob)
        assert len({call.split("(")[0] for _, call in made}) > 50
        wrong = {}
        for what, call in made:
            hidden, missing = ("hidden", "missed") if what == "model" else ("diary", "diarx")
            found, expected = outcome(tenants.bob, call, hidden), outcome(tenants.bob, call, missing)
            if found != expected or found[0] != "42704" or f'{what} "*" does not exist' not in found[1][0]:
                wrong[call] = found, expected
        assert wrong == {}

    def test_the_same_calls_answer_their_owner(self, tenants):
        """So that the refusals above are about the name."""
        answered = set()
        for what, call in calls(tenants.ann):
            if re.search("drop|give|grant|revoke|ingest|export|vector_index|recall|'own'", call):
                continue
            found = outcome(tenants.ann, call, "hidden" if what == "model" else "diary")
            if not (isinstance(found, tuple) and found[0] == "42704"):
                answered.add(call.split("(")[0])
        assert len(answered) > 40

    def test_a_row_of_a_model_that_is_made_up_is_no_key(self, tenants):
        """Two private functions take the row of a lookup; who makes one up reads under the policies."""
        number = one(tenants.ann, "SELECT id FROM hypercube.model WHERE name = 'hidden'")
        fields = f'{{"id": {number}, "name": "hidden", "neighbors": 4}}'
        row = f"jsonb_populate_record(NULL::hypercube.model, '{fields}')"
        for call in (
            f"_token_neighbors({row}, 'zanzibar', 15, 2, NULL, NULL, false, false, NULL, false)",
            f"_one_token({row}, 'zanzibar')",
        ):
            with pytest.raises(psycopg.errors.UndefinedObject):
                rows(tenants.bob, f"SELECT * FROM hypercube.{call}")

    def test_a_number_of_another_finds_nothing(self, tenants):
        model = one(tenants.ann, "SELECT id FROM hypercube.model WHERE name = 'hidden'")
        token = one(tenants.ann, "SELECT hypercube.token_id('zanzibar', 'hidden')")
        for call in (
            f"_stored_neighbors({model}, 'hidden', {token}, 4)",
            f"_map_neighbors({model}, 'hidden', {token}, 4)",
            f"_same_word({model}, 'zanzibar')",
        ):
            assert rows(tenants.ann, f"SELECT * FROM hypercube.{call}"), call
            assert rows(tenants.bob, f"SELECT * FROM hypercube.{call}") == [], call
        assert one(tenants.ann, f"SELECT hypercube._find_token({model}, 'zanzibar')") == token
        assert one(tenants.bob, f"SELECT hypercube._find_token({model}, 'zanzibar')") is None

    def test_a_name_that_is_taken_tells_that_and_nothing_else(self, tenants):
        """Names are one for all: said in doc/security.md."""
        for call, name in (
            ("ingest_text('diary', 'x', 'shared')", 'document "diary"'),
            ("ingest_text('diary', 'x', 'shared', replace => true)", 'document "diary"'),
            ("ingest_texts('{a,plan}', '{x,y}', 'shared')", 'document "plan"'),
            (f"ingest('{tenants.folder}/own', 'hidden')", 'model "hidden"'),
            ("ingest_upload('hidden')", 'model "hidden"'),
            ("upload_begin('hidden', 'config.json')", 'model "hidden"'),
            ("upload_begin('zanzibar upload', 'config.json')", 'model "zanzibar upload"'),
        ):
            with pytest.raises(psycopg.errors.DuplicateObject) as refusal:
                tenants.bob.execute(f"SELECT * FROM hypercube.{call}")
            told = refusal.value.diag
            assert told.message_primary == f"hypercube: {name} already exists"
            assert told.message_detail is None and "ann" not in told.message_hint

    def test_what_was_granted_is_read_and_not_owned(self, tenants):
        for call in (
            "drop_model('lent')", f"export_model('lent', '{tenants.folder}')", "drop_vector_index('lent')",
            "relate_sequences('lent')", "drop_document('lent letter')",
            "ingest_text('lent letter', 'x', 'shared', replace => true)",
            "read_documents('own', '{lent letter}')",
        ):  # fmt: skip
            with pytest.raises(PRIVATE, match="does not own"):
                tenants.bob.execute(f"SELECT * FROM hypercube.{call}")
        assert one(tenants.bob, "SELECT hypercube.document_text('lent letter')") == "We sell a good one."

    def test_without_a_name_only_what_is_seen_is_chosen_and_listed(self, tenants):
        with pytest.raises(psycopg.errors.UndefinedObject) as refusal:
            tenants.bob.execute("SELECT hypercube.token_id('we')")
        assert "lent, own, shared" in refusal.value.diag.message_hint
        # Of all models there are, carol sees one.
        assert one(tenants.carol, "SELECT hypercube.token_id('we')") is not None


class TestPrivateFunctions:
    @pytest.mark.parametrize("role", ["ann", "bob", "carol", "amy"])
    def test_the_doors_open_for_no_call_from_sql(self, tenants, role):
        db = getattr(tenants, role)
        for door in ("_as_owner", "_read_as_owner"):
            with pytest.raises(PRIVATE, match="for hypercube itself"):
                db.execute(f"SELECT hypercube.{door}()")
            with pytest.raises(PRIVATE, match="for hypercube itself"):
                db.execute(f"SELECT hypercube.{door}() FROM hypercube.model")

    def test_a_door_stays_closed_after_a_call_that_failed(self, tenants):
        with tenants.connect("bob") as db:
            for call in (
                "drop_document('diary')",
                "ingest_text('notes', 'x')",
                "compose(NULL)",
                "search('', 1, 'own')",
            ):
                with pytest.raises(psycopg.Error):
                    db.execute(f"SELECT hypercube.{call}")
                for door in ("_as_owner", "_read_as_owner"):
                    with pytest.raises(PRIVATE):
                        db.execute(f"SELECT hypercube.{door}()")

    def test_what_is_for_admins_is_refused(self, tenants):
        for call in (
            "_broken_postconditions(1)", "_fingerprints(1)", "_server_health()", "_orphans_health()",
            "_vectors_health()", "_environment_health()", "maintain()", "refresh_consensus()", "seed_atoms()",
        ):  # fmt: skip
            with pytest.raises(PRIVATE):
                tenants.bob.execute(f"SELECT * FROM hypercube.{call}")

    def test_an_auditor_calls_no_question(self, tenants):
        for call in (
            "search_text('zanzibar')",
            "token_id('we')",
            "composition_id('x')",
            "_as_owner()",
            "health()",
        ):
            with pytest.raises(PRIVATE):
                tenants.audrey.execute(f"SELECT * FROM hypercube.{call}")

    def test_files_of_matrices_that_are_needed_stay_whoever_sweeps(self, tenants):
        def files():
            return one(
                tenants.postgres,
                "SELECT array_agg(f ORDER BY f) FROM pg_database AS d"
                " CROSS JOIN LATERAL pg_ls_dir('pgsql_tmp_hypercube/' || d.oid) AS f"
                " WHERE d.datname = current_database()",
            )

        before = files()
        assert len(before) >= 4
        for role in ("carol", "bob"):
            assert one(getattr(tenants, role), "SELECT hypercube._sweep_matrices()") is not None
        assert files() == before


def test_limits_of_another_are_not_told(tenants):
    tenants.amy.execute("SELECT hypercube.set_limit('ann', 'documents', 77)")
    role = "(SELECT oid FROM pg_roles WHERE rolname = 'ann')"
    asked = f"SELECT value FROM hypercube._find_limit({role}, 'documents')"
    assert rows(tenants.ann, asked) == [(77,)]
    for other in ("bob", "carol"):
        db = getattr(tenants, other)
        for statement in (asked, "TABLE hypercube.role_limit", "TABLE hypercube.limit_overview"):
            assert "77" not in str(rows(db, statement)), (other, statement)
    tenants.amy.execute("SELECT hypercube.unset_limit('ann', 'documents')")


class TestTraps:
    """Code of bob's that others run without meaning to, never as the owner of the extension."""

    def test_an_index_expression_runs_as_its_owner_when_others_maintain_it(self, tenants):
        db = tenants.bob
        db.execute("CREATE TABLE bob.trap (a int)")
        db.execute("INSERT INTO bob.trap SELECT generate_series(1, 3)")
        body = (
            "CREATE OR REPLACE FUNCTION bob.f(a int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS"
            " $$BEGIN {} RETURN a; END$$"
        )
        db.execute(body.format(""))
        db.execute("CREATE INDEX ON bob.trap (bob.f(a))")
        told = []
        tenants.postgres.add_notice_handler(lambda notice: told.append(notice.message_primary))
        db.execute(body.format("RAISE NOTICE '% %', current_user, (SELECT count(*) FROM hypercube.model);"))
        tenants.postgres.execute("ANALYZE bob.trap")
        assert set(told) == {"bob 3"}
        for call in (
            "drop_document('diary')", "grant_document('diary', 'bob')", "grant_model('hidden', 'bob')",
            "compose('x')", "ingest_text('x', 'y')", "upload_begin('x', 'config.json')",
            "embed_documents('own')",
        ):  # fmt: skip
            db.execute(body.format(f"PERFORM hypercube.{call};"))
            with pytest.raises(psycopg.Error) as refusal:
                tenants.postgres.execute("ANALYZE bob.trap")
            assert refusal.value.sqlstate in ("42501", "42704"), call
        db.execute("DROP TABLE bob.trap")

    def test_nor_does_a_materialized_view(self, tenants):
        tenants.bob.execute(
            "CREATE FUNCTION bob.composed() RETURNS bytea LANGUAGE sql"
            " AS $$SELECT hypercube.compose('trapped')$$"
        )
        tenants.bob.execute("CREATE MATERIALIZED VIEW bob.m AS SELECT bob.composed() WITH NO DATA")
        for role in ("postgres", "bob"):
            with pytest.raises(PRIVATE, match="cannot be called from an index"):
                getattr(tenants, role).execute("REFRESH MATERIALIZED VIEW bob.m")

    def test_names_ahead_on_the_path_do_not_change_what_functions_call(self, tenants):
        """Functions of bob's that are named as the server's, ahead on the path of carol's session."""
        with tenants.connect("bob") as db:
            for declared in (
                "pg_has_role(oid, text) RETURNS boolean", "quote_ident(text) RETURNS text",
                "current_setting(text, boolean) RETURNS text", "format(text, text) RETURNS text",
                "lower(text) RETURNS text", "length(text) RETURNS int",
            ):  # fmt: skip
                db.execute(
                    f"CREATE FUNCTION bob.{declared} LANGUAGE plpgsql AS $$BEGIN RAISE 'trapped'; END$$"
                )
        with tenants.connect("carol") as db:
            db.execute("SET search_path = bob, pg_catalog")
            for call in (
                "semantic_neighbors('we', 2)", "search_text('we')", "token_id('we')",
                "analogy('we', 'sell', 'it', 2)",
                "find_composition('we')", "consensus_neighbors('we')", "model_report()", "tokenize('we')",
            ):  # fmt: skip
                db.execute(f"SELECT * FROM hypercube.{call}")
            assert one(db, "SELECT count(*) FROM hypercube.model") == 1


class TestLoad:
    """Calls that ask for more than there should be; limits of roles are in tests of their own."""

    @pytest.mark.parametrize(
        "call",
        [
            "semantic_neighbors('we', 2147483647, 'own')",
            "nearest(hypercube.embedding('we', 'own'), 2147483647, 'own')",
            "search_text('we', 2147483647)",
            "search('we', 2147483647, 'own')",
            "semantic_neighbors(repeat('x', 1000000), 1, 'own')",
            "search_text(repeat('x ', 1000000))",
            "tokenize(repeat('x ', 1000000), 'own')",
            "analogies(array_fill('we sell it'::text, ARRAY[1000000]), 1, 'own')",
            "nearest_batch(array_fill(1::real, ARRAY[100000, 16]), 100, 'own')",
            "detokenize(array_fill(1, ARRAY[2000000]), 'own')",
            "map_svg('own', width => 2147483647)",
            "hilbert_range('(0,0,0,0),(1,1,1,1)'::public.cube, 2147483647)",
            "orthographic_neighbors(repeat('x', 100000))",
            "upload_begin(repeat('x', 1000000), 'config.json')",
            "ingest_texts(array_fill('x'::text, ARRAY[20000]), array_fill('x'::text, ARRAY[20000]))",
            "ingest_text(repeat('x', 300), 'x')",
        ],
    )
    def test_what_is_too_much_is_refused_before_it_is_done(self, tenants, call):
        with pytest.raises(psycopg.Error) as refusal:
            tenants.bob.execute(f"SELECT * FROM hypercube.{call}")
        assert refusal.value.sqlstate in ("54000", "22023", "53200")

    def test_a_query_that_is_nested_deep_ends_the_statement_not_the_session(self, tenants):
        with tenants.connect("bob") as db:
            with pytest.raises(psycopg.Error):
                db.execute(
                    "SELECT * FROM hypercube.document WHERE words @@ (repeat('(', 200000) || 'a')::tsquery"
                )
            assert one(db, "SELECT count(*) FROM hypercube.model") == 3

    def test_nothing_of_another_stands_in_an_error(self, tenants):
        """Not in a message, a detail, a hint or a context, when asked about words that only ann has."""
        for call in (
            "semantic_neighbors('zanzibar', 2, 'own')", "token_id('zanzibar', 'own')",
            "spatial_neighbors('quokka', 2, 'own')",
            "consensus_neighbors('xylophone')", "analogy('zanzibar', 'we', 'it', 1, 'own')",
            "continuations('quokka', 1, 'own')",
            "search_text('zanzibar')", "orthographic_neighbors('zanzibas')", "find_composition('zanzibar')",
        ):  # fmt: skip
            word = re.search("zanziba[rs]|quokka|xylophone", call)[0]
            try:
                told = str(rows(tenants.bob, f"SELECT * FROM hypercube.{call}"))
            except psycopg.Error as error:
                told = f"{error} {error.diag.context}"
            assert not [
                secret for secret in (*SECRETS, "hidden", "diary") if secret in told.replace(word, "")
            ], call
