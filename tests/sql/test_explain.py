"""explain_question(): what it says, held against what the question then does."""

import json
import os
import shutil
from pathlib import Path

import pytest

from people import People, name_of, refused
from rows import ingest, one
from small_models import vectors, words, write_model

W = words(8)
# A call of every question, and what explain_question is told about it.
QUESTIONS = {
    "semantic_neighbors('whale', 10)": "'semantic_neighbors', 'whale', k => 10",
    "semantic_neighbors('WHALE', 10)": "'semantic_neighbors', 'WHALE', k => 10",
    "semantic_neighbors('whale', 30)": "'semantic_neighbors', 'whale', k => 30",
    "semantic_neighbors('whale', 5, letters_only => true)":
        "'semantic_neighbors', 'whale', k => 5, letters_only => true",
    "semantic_neighbors('whale', 5, minimum_score => 0.4)":
        "'semantic_neighbors', 'whale', k => 5, minimum_score => 0.4",
    "semantic_neighbors('white whale', 5)": "'semantic_neighbors', 'white whale', k => 5",
    "nearest(hypercube.embedding('whale'), 5)": "'nearest', k => 5",
    "analogy('man', 'king', 'woman', 5)": "'analogy', words => '{man,king,woman}', k => 5",
    "most_similar('{king,woman}', '{man}', 5)": "'most_similar', words => '{king,woman,man}', k => 5",
    "midpoint('king', 'queen', 5)": "'midpoint', words => '{king,queen}', k => 5",
    "similarity('whale', 'dolphin')": "'similarity', words => '{whale,dolphin}'",
    "embedding('whale')": "'embedding', 'whale'",
    "spatial_neighbors('whale', 5)": "'spatial_neighbors', 'whale', k => 5",
    "consensus_neighbors('whale', 5)": "'consensus_neighbors', 'whale', k => 5",
    "tokenize('A white whale.')": "'tokenize', 'A white whale.'",
    "embed('A white whale.')": "'embed', 'A white whale.'",
    "search('a white whale', 5)": "'search', 'a white whale', k => 5",
    "search_text('white whale', 5)": "'search_text', 'white whale', k => 5",
    "hybrid_search('white whale', 5)": "'hybrid_search', 'white whale', k => 5",
    "ask('Where is the white whale?', 5)": "'ask', 'Where is the white whale?'",
}  # fmt: skip
BY_WORDS = {call for call in QUESTIONS if call.startswith(("search_text", "hybrid", "ask"))}
SMALL = f"semantic_neighbors('{W[0]}', 3, 'm')"
SPATIAL = f"spatial_neighbors('{W[0]}', 3, 'm')"
_SCANS = (
    "SELECT relname, pg_stat_get_xact_numscans(oid) FROM pg_class"
    " WHERE relnamespace = 'hypercube'::regnamespace AND relkind = 'i'"
)


def explained(db, arguments, *values):
    """Return the steps of an explanation by their names: path, reads, rows, bytes, missing."""
    found = db.execute(f"SELECT * FROM hypercube.explain_question({arguments})", values).fetchall()
    return {
        row[0]: dict(zip(("path", "reads", "rows", "bytes", "missing"), row[1:], strict=True))
        for row in found
    }


def maps(connection):
    return Path(f"/proc/{connection.info.backend_pid}/maps").read_text()


@pytest.fixture
def fresh(server, searched):
    """A function that opens sessions in which nothing has been asked yet."""
    opened = []
    searched.execute("ANALYZE hypercube.sentence_search, hypercube.sentence")

    def connect():
        connection = server.connect(dbname=searched.info.dbname, autocommit=True)
        connection.execute("SET hypercube.model = 'minilm'")
        opened.append(connection)
        return connection

    yield connect
    for connection in opened:
        connection.close()


@pytest.mark.parametrize("call", QUESTIONS)
def test_python_is_started_where_it_says_so_and_files_are_read_that_it_names(fresh, call):
    # The files that it reads are there.
    fresh().execute(f"SELECT * FROM hypercube.{call}")
    told = explained(fresh(), QUESTIONS[call])
    asking = fresh()
    assert asking.execute(f"SELECT * FROM hypercube.{call}").fetchall()

    mapped = maps(asking)
    assert ("plpython3" in mapped) == (told["python"]["path"] == "is started")
    named = [
        name
        for step in told.values()
        for name in (step["reads"] or "").split(", ")
        if name.startswith("pgsql_tmp")
    ]
    lines = (line.split("pgsql_tmp_hypercube/") for line in mapped.splitlines())
    read = {parts[1] for parts in lines if len(parts) > 1}
    # The vector of the question of nearest was asked for before it.
    assert {name.removeprefix("pgsql_tmp_hypercube/") for name in named} == read
    assert all(step["missing"] is None for step in told.values()), told


@pytest.mark.parametrize("call", sorted(set(QUESTIONS) - BY_WORDS))
def test_the_indexes_that_it_names_are_read(fresh, call):
    told = explained(fresh(), QUESTIONS[call])
    asking = fresh()
    with asking.transaction():
        # A bitmap or a scan of a small table is a matter of costs, which are not what is tested.
        asking.execute("SET LOCAL enable_seqscan = off")
        asking.execute(f"SELECT * FROM hypercube.{call}")
        scans = {name for name, count in asking.execute(_SCANS) if count}
    named = {
        name for step in told.values() for name in (step["reads"] or "").split(", ")
        if name.endswith(("_index", "_pkey"))
    }  # fmt: skip
    assert named <= scans, call


def test_words_are_looked_up_in_the_index_that_it_names(fresh):
    told = explained(fresh(), QUESTIONS["search_text('white whale', 5)"])
    assert "sentence_search_words_index" in told["by words"]["reads"]
    with fresh() as asking, asking.transaction():
        # Leaves bitmaps alone, which every index of a full-text search is read by.
        for path in ("seqscan", "indexscan", "indexonlyscan"):
            asking.execute(f"SET LOCAL enable_{path} = off")
        asking.execute("SELECT * FROM hypercube.search_text('white whale', 5)")
        assert dict(asking.execute(_SCANS).fetchall())["sentence_search_words_index"]
        told = explained(asking, "'search_text', 'whale', scope => 'document'")["by words"]
        assert "document_words_index" in told["reads"]
        asking.execute("SELECT * FROM hypercube.search_text('white whale', 5, 'document')")
        assert dict(asking.execute(_SCANS).fetchall())["document_words_index"]


def test_the_counts_are_those_of_the_model(searched):
    told = explained(searched, "'semantic_neighbors', 'whale', k => 30")
    assert told["answer"]["path"] == "exact scan of every row of the matrix (30 are asked for, 16 are stored)"
    assert told["answer"]["rows"] == 30522 and told["answer"]["bytes"] == 30522 * 384 * 4
    told = explained(searched, "'similarity', words => '{whale,dolphin}'")
    assert told["answer"]["bytes"] == 2 * 384 * 4
    told = explained(searched, "'search', 'a whale'")
    sentences = one(searched, "SELECT count(DISTINCT composition_id) FROM hypercube.sentence")
    assert told["by meaning"]["rows"] == sentences and told["by meaning"]["bytes"] == sentences * 384 * 4
    assert told["model"]["path"] == '"minilm", by the setting hypercube.model'


def test_each_way_of_a_word_is_told_apart(searched):
    answer = "stored neighbours: one statement for word and neighbours"
    assert explained(searched, "'semantic_neighbors', 'whale'")["answer"]["path"].startswith(answer)
    for arguments in ("'WHALE'", "'whale', minimum_score => 0.4", "' whale'"):
        told = explained(searched, f"'semantic_neighbors', {arguments}")
        assert told["answer"]["path"].startswith("stored neighbours: the token first"), arguments
    for arguments, reason in (
        ("'whale', k => 17", "17 are asked for, 16 are stored"),
        ("'white whale'", "the word is no token"),
        ("'whale', label_like => 'wh%%'", "a filter is given"),
        ("'whale', exclude_variants => true", "a filter is given"),
        ("'[PAD]'", None),
    ):
        told = explained(searched, f"'semantic_neighbors', {arguments}")
        assert reason is None or told["answer"]["path"].endswith(f"({reason})"), arguments


def test_it_asks_nothing(server, searched, fresh):
    """No file is made by it, and those that it misses are made by the question."""
    number = one(searched, "SELECT oid FROM pg_database WHERE datname = current_database()")
    folder = server.data_folder / "pgsql_tmp_hypercube" / str(number)
    for call, arguments in QUESTIONS.items():
        for name in os.listdir(folder):
            os.unlink(folder / name)
        missing = [step["missing"] for step in explained(searched, arguments).values() if step["missing"]]
        assert os.listdir(folder) == [], call
        fresh().execute(f"SELECT * FROM hypercube.{call}")
        assert (os.listdir(folder) != []) == any("the file: the first" in text for text in missing), call
        left = [step["missing"] for step in explained(searched, arguments).values()]
        assert set(left) == {None}, call


def test_a_word_is_put_into_lower_case_by_the_server(own, sources):
    lower = one(own, "SELECT lower('İSTANBUL')")
    ingest(own, write_model(sources / "m", vectors(60), pieces=["[UNK]", lower, *words(58)]))
    assert own.execute("SELECT * FROM hypercube.consensus_neighbors('İSTANBUL')").fetchall()
    assert explained(own, "'consensus_neighbors', 'İSTANBUL'")["words"]["rows"] == 1


def test_where_no_sentence_has_a_vector_no_text_is_embedded(own, sources):
    ingest(own, write_model(sources / "m", vectors(60)))
    own.execute("SELECT hypercube.ingest_text('a', %s, vectors => false)", (f"{W[0]} {W[1]}.",))
    told = explained(own, "'ask', %s", W[0])
    assert "text" not in told and told["by meaning"]["path"].startswith("no sentence")
    assert told["by meaning"]["missing"] == (
        "vectors of some sentences: SELECT hypercube.embed_documents('m')"
    )
    own.execute("SELECT hypercube.embed_documents('m')")
    told = explained(own, "'ask', %s", W[0])
    assert "text" in told and told["by meaning"]["rows"] == 1


class TestWhatIsMissing:
    def test_the_file_of_a_model_with_any_name(self, own, sources, server):
        ingest(own, write_model(sources / "m", vectors(60)), "ann's")
        number = one(own, "SELECT oid FROM pg_database WHERE datname = current_database()")
        shutil.rmtree(server.data_folder / "pgsql_tmp_hypercube" / str(number))
        told = explained(own, "'nearest'")["answer"]["missing"]
        own.execute(told[told.index("SELECT hypercube.warm") :])
        assert explained(own, "'nearest'")["answer"]["missing"] is None

    def test_room_for_an_encoder_and_for_the_vectors_of_sentences(self, searched, fresh, server):
        number = one(searched, "SELECT oid FROM pg_database WHERE datname = current_database()")
        folder = server.data_folder / "pgsql_tmp_hypercube" / str(number)
        for name in os.listdir(folder):
            os.unlink(folder / name)
        asking = fresh()
        asking.execute("SET hypercube.matrix_limit = '0'")
        told = explained(asking, "'search', 'a whale'")
        for step in ("by meaning", "text"):
            assert told[step]["missing"].startswith("room for it: SET hypercube.matrix_limit = ")
        refused(asking, "SELECT * FROM hypercube.search('a whale')", "OutOfMemory")
        asking.execute(told["text"]["missing"].removeprefix("room for it: "))
        asking.execute("SELECT * FROM hypercube.search('a whale')")

    def test_statistics(self, own, sources):
        ingest(own, write_model(sources / "m", vectors(60)))
        assert "statistics" not in explained(own, f"'semantic_neighbors', '{W[0]}'")
        own.execute("UPDATE pg_class SET reltuples = -1 WHERE relname = 'relation'")
        told = explained(own, f"'semantic_neighbors', '{W[0]}'")["statistics"]
        assert told["missing"] == "ANALYZE hypercube.relation"
        own.execute(told["missing"])
        assert "statistics" not in explained(own, f"'semantic_neighbors', '{W[0]}'")

    def test_room_for_the_matrix(self, own, sources, server):
        ingest(own, write_model(sources / "m", vectors(60)))
        number = one(own, "SELECT oid FROM pg_database WHERE datname = current_database()")
        shutil.rmtree(server.data_folder / "pgsql_tmp_hypercube" / str(number))
        own.execute("SET hypercube.matrix_limit = '0'")
        told = explained(own, "'nearest'")["answer"]["missing"]
        assert told == "room for it: SET hypercube.matrix_limit = '1'"
        own.execute(told.removeprefix("room for it: "))
        own.execute("SELECT * FROM hypercube.nearest(array_fill(1::real, ARRAY[16]))")

    def test_vectors_of_sentences(self, own, sources):
        ingest(own, write_model(sources / "m", vectors(60)))
        own.execute("SELECT hypercube.ingest_text('a', %s)", (f"{W[0]} {W[1]}.",))
        own.execute("SELECT hypercube.ingest_text('b', %s, vectors => false)", (f"{W[2]} {W[3]}.",))
        told = explained(own, f"'search', '{W[0]}'")["by meaning"]
        assert told["rows"] == 1 and told["missing"].endswith("SELECT hypercube.embed_documents('m')")
        own.execute("SELECT hypercube.embed_documents('m')")
        own.execute("SELECT * FROM hypercube.search('waab')")
        told = explained(own, f"'search', '{W[0]}'")["by meaning"]
        assert told["rows"] == 2 and told["missing"] is None


class TestRefusals:
    @pytest.mark.parametrize(
        ("call", "arguments"),
        [
            ("nearest(ARRAY[1], model => 'nope')", "'nearest', model => 'nope'"),
            ("semantic_neighbors('\U00013000')", "'semantic_neighbors', '\U00013000'"),
            ("semantic_neighbors('whale', 0)", "'semantic_neighbors', 'whale', k => 0"),
            ("semantic_neighbors('whale', 5000)", "'semantic_neighbors', 'whale', k => 5000"),
            ("semantic_neighbors(NULL::text)", "'semantic_neighbors', words => ARRAY[NULL]"),
            ("semantic_neighbors('whale', minimum_score => 'NaN')",
             "'semantic_neighbors', 'whale', minimum_score => 'NaN'"),
            ("semantic_neighbors('whale', approximate => true)",
             "'semantic_neighbors', 'whale', approximate => true"),
            ("spatial_neighbors('white whale')", "'spatial_neighbors', 'white whale'"),
            ("consensus_neighbors('qqqq')", "'consensus_neighbors', 'qqqq'"),
            ("search('whale', 0)", "'search', 'whale', k => 0"),
            ("search('whale', scope => 'page')", "'search', 'whale', scope => 'page'"),
            ("search('whale', model => 'glassllm')", "'search', 'whale', model => 'glassllm'"),
            ("search('')", "'search', ''"),
            ("hybrid_search(E'\\t')", "'hybrid_search', E'\\t'"),
            ("search_text(' ', 5000)", "'search_text', ' ', k => 5000"),
            ("ask(repeat('a', 10001))", "'ask', repeat('a', 10001)"),
            ("embed(repeat('a', 250001))", "'embed', repeat('a', 250001)"),
            ("tokenize(repeat('a', 250001))", "'tokenize', repeat('a', 250001)"),
        ],
    )  # fmt: skip
    def test_what_the_question_refuses_is_refused(self, searched, call, arguments):
        with pytest.raises(Exception) as expected:
            searched.execute(f"SELECT * FROM hypercube.{call}")
        told = refused(searched, f"SELECT * FROM hypercube.explain_question({arguments})", "Error")
        assert told.sqlstate == expected.value.diag.sqlstate

    def test_what_is_no_question_is_refused_with_those_there_are(self, searched):
        for arguments in ("'drop_model'", "NULL", "'analogy', 'man'", "'search'", "'nearest', 'whale'"):
            told = refused(
                searched, f"SELECT * FROM hypercube.explain_question({arguments})", "InvalidParameterValue"
            )
            assert told.message_hint


class TestReaders:
    @pytest.fixture
    def people(self, server, asked):
        found = People(server, asked)
        yield found
        found.close()

    @pytest.mark.parametrize(
        ("call", "question"), [(SMALL, "semantic_neighbors"), (SPATIAL, "spatial_neighbors")]
    )
    def test_a_limit_that_is_counted_starts_python_and_is_told(self, people, call, question):
        ann = people("hypercube_reader")
        arguments = f"'{question}', '{W[0]}', k => 3, model => 'm'"
        assert explained(ann, arguments)["python"]["path"] == "is not started"
        free = people.connect(name_of(ann))
        free.execute(f"SELECT * FROM hypercube.{call}")
        assert "plpython3" not in maps(free)
        people.limit(name_of(ann), "questions", 3)
        told = explained(ann, arguments)
        assert told["python"]["path"] == "is started"
        assert told["limits"]["path"] == "counts as 1 question, 3 of 3 a minute are left"
        held = people.connect(name_of(ann))
        held.execute(f"SELECT * FROM hypercube.{call}")
        assert "plpython3" in maps(held)
        assert explained(ann, arguments)["limits"]["path"].startswith("counts as 1 question, 2 of 3")

    def test_files_and_statistics_are_told_to_admins_alone(self, people, server):
        number = one(people._root, "SELECT oid FROM pg_database WHERE datname = current_database()")
        shutil.rmtree(server.data_folder / "pgsql_tmp_hypercube" / str(number), ignore_errors=True)
        ann, admin = people("hypercube_reader"), people("hypercube_admin")
        arguments = "'nearest', model => 'm'"
        mine, all_of_it = explained(ann, arguments)["answer"], explained(admin, arguments)["answer"]
        assert mine["missing"] is None and mine["reads"].startswith("unit1-")
        assert "hypercube.warm('m')" in all_of_it["missing"]
        assert all_of_it["reads"] == f"pgsql_tmp_hypercube/{number}/{mine['reads']}"

    def test_a_model_that_is_not_seen_does_not_exist(self, people):
        people._root.execute("SELECT hypercube.revoke_model('m', 'public')")
        try:
            ann = people("hypercube_reader")
            told = refused(
                ann, "SELECT * FROM hypercube.explain_question('nearest', model => 'm')", "UndefinedObject"
            )
            assert told.message_primary.endswith('model "m" does not exist')
        finally:
            people._root.execute("SELECT hypercube.grant_model('m', 'public')")


def test_it_is_one_result_that_json_can_hold(searched):
    assert json.dumps(explained(searched, "'ask', 'Where is the whale?'"))
