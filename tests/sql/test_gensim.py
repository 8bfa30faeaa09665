"""Every question that gensim answers too, against gensim over the same matrix."""

from pathlib import Path

import numpy as np
import psycopg
import pytest
from gensim.models import KeyedVectors
from gensim.test.utils import datapath
from safetensors.numpy import load_file

from rows import MODELS, one

# gensim calls a function of its own that it has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated:DeprecationWarning")

WORDS = [
    ("king", "queen", "man"), ("paris", "france", "germany"), ("whale", "dolphin", "shark"),
    ("walk", "walking", "swimming"), ("good", "better", "bad"), ("house", "car", "street"),
]  # fmt: skip


@pytest.fixture(scope="module")
def labels(server, loaded):
    with server.connect(dbname="loaded") as db:
        return [
            row[0]
            for row in db.execute(
                "SELECT coalesce(piece, token_id::text) FROM hypercube.token_overview"
                " WHERE model = 'minilm' ORDER BY token_id"
            )
        ]


@pytest.fixture(scope="module")
def table():
    return load_file(MODELS / "all-MiniLM-L6-v2" / "model.safetensors")["embeddings.word_embeddings.weight"]


@pytest.fixture(scope="module")
def gensim(labels, table):
    vectors = KeyedVectors(table.shape[1])
    vectors.add_vectors(labels, table)
    vectors.fill_norms()
    return vectors


@pytest.fixture(scope="module")
def lower(labels, table):
    """gensim over the lower-case words alone."""
    rows = [
        row for row, label in enumerate(labels) if label.isascii() and label.isalpha() and label.islower()
    ]
    vectors = KeyedVectors(table.shape[1])
    vectors.add_vectors([labels[row] for row in rows], table[rows])
    return vectors


def ranked(db, call, *args):
    return db.execute(
        f"SELECT o.piece, a.score FROM hypercube.{call} AS a"
        " JOIN hypercube.token_overview AS o USING (model, token_id) ORDER BY a.rank",
        args,
    ).fetchall()


def agree(ours, theirs, tolerance=1e-6):
    """Compare ranked rows: scores to the tolerance, names wherever scores are farther apart than it."""
    assert len(ours) == len(theirs) > 0
    np.testing.assert_allclose([row[1] for row in ours], [row[1] for row in theirs], atol=tolerance, rtol=0)
    for place, (our, their) in enumerate(zip(ours, theirs, strict=True)):
        if our[0] != their[0]:
            near = [row[1] for row in theirs[max(0, place - 1) : place + 2]]
            assert max(near) - min(near) < 2 * tolerance, (our, their)


@pytest.mark.parametrize("word", ["whale", "king", "paris", "running", "##ing"])
def test_neighbors_are_similar_by_word(db, gensim, word):
    agree(ranked(db, "semantic_neighbors(%s, 15)", word), gensim.similar_by_word(word, 15))
    agree(ranked(db, "semantic_neighbors(%s, 200)", word), gensim.similar_by_key(word, 200))


def test_nearest_is_similar_by_vector(db, gensim):
    vector = np.random.default_rng(2).normal(size=384).astype(np.float32)
    agree(ranked(db, "nearest(%s::real[], 100)", vector.tolist()), gensim.similar_by_vector(vector, 100))


@pytest.mark.parametrize(("a", "b", "c"), WORDS)
def test_most_similar(db, gensim, a, b, c):
    for positive, negative in (([a, c], [b]), ([a], []), ([a, b, c], []), ([a], [b, c]), ([], [a])):
        ours = ranked(db, "most_similar(%s::text[], %s::text[], 50)", positive, negative)
        agree(ours, gensim.most_similar(positive, negative, topn=50))


@pytest.mark.parametrize(("a", "b", "c"), WORDS)
def test_most_similar_with_weights(db, gensim, a, b, c):
    call = "most_similar(%s::text[], %s::text[], 50, positive_weights => %s, negative_weights => %s)"
    ours = ranked(db, call, [a, b], [c], [2.0, 0.5], [0.25])
    # gensim takes the weight of a negative word as it stands, with its sign.
    agree(ours, gensim.most_similar([(a, 2.0), (b, 0.5)], [(c, -0.25)], topn=50))


@pytest.mark.parametrize(("a", "b", "c"), WORDS)
def test_most_similar_cosmul(db, gensim, a, b, c):
    for positive, negative in (([a, c], [b]), ([a, b, c], []), ([a], [b, c])):
        ours = ranked(db, "most_similar(%s::text[], %s::text[], 50, method => '3cosmul')", positive, negative)
        theirs = gensim.most_similar_cosmul(positive, negative, topn=50)
        # With two words below, the quotients are around 2: as many digits, one less behind the point.
        agree(ours, theirs, 1e-6 * max(1.0, theirs[0][1]))


@pytest.mark.parametrize(("a", "b", "c"), WORDS)
def test_analogies_one_by_one_and_all_at_once(db, gensim, a, b, c):
    theirs = gensim.most_similar([b, c], [a], topn=20)
    agree(ranked(db, "analogy(%s, %s, %s, 20)", a, b, c), theirs)
    agree(ranked(db, "analogies(%s, 20)", [[a, b, c]]), theirs)
    theirs = gensim.most_similar_cosmul([b, c], [a], topn=20)
    agree(ranked(db, "analogy(%s, %s, %s, 20, method => '3cosmul')", a, b, c), theirs)
    agree(ranked(db, "analogies(%s, 20, method => '3cosmul')", [[a, b, c]]), theirs)


def test_similarity_of_words_of_lists_and_of_vectors(db, gensim):
    for a, b, c in WORDS:
        assert one(db, "SELECT hypercube.similarity(%s, %s)", a, b) == pytest.approx(
            gensim.similarity(a, b), abs=1e-6
        )
        assert one(db, "SELECT hypercube.similarity(%s::text[], %s::text[])", [a, b], [c]) == pytest.approx(
            gensim.n_similarity([a, b], [c]), abs=1e-6
        )
        vectors = gensim.get_vector(a), gensim.get_vector(c)
        theirs = KeyedVectors.cosine_similarities(vectors[0], [vectors[1]])[0]
        ours = one(
            db,
            "SELECT hypercube.similarity(%s::real[], %s::real[])",
            *(vector.tolist() for vector in vectors),
        )
        assert ours == pytest.approx(theirs, abs=1e-6)


def test_odd_one_out_and_centrality(db, gensim):
    for words in (["breakfast", "cereal", "dinner", "car"], ["king", "queen", "prince", "whale", "duke"]):
        assert one(db, "SELECT hypercube.odd_one_out(%s)", words) == gensim.doesnt_match(words)
        ours = db.execute("SELECT word, score FROM hypercube.rank_by_centrality(%s)", (words,)).fetchall()
        theirs = [(word, score) for score, word in gensim.rank_by_centrality(words)]
        agree(ours, theirs)


def test_rank_and_closer_than(db, gensim):
    for a, b, c in WORDS:
        for left, right in ((a, b), (a, c), (c, a)):
            assert one(db, "SELECT hypercube.rank_of(%s, %s)", left, right) == gensim.rank(left, right)
            ours = [row[0] for row in ranked(db, "closer_than(%s, %s)", left, right)]
            assert sorted(ours) == sorted(gensim.closer_than(left, right))


def test_centroid_and_the_algebra_of_vectors(db, gensim):
    words = ["king", "queen", "whale"]
    np.testing.assert_allclose(
        one(db, "SELECT hypercube.centroid(%s::text[])", words), gensim.get_mean_vector(words), atol=1e-7
    )
    vector = gensim.get_vector("king")
    np.testing.assert_array_equal(np.float32(one(db, "SELECT hypercube.embedding('king')")), vector)
    np.testing.assert_allclose(
        one(db, "SELECT hypercube.normalise(hypercube.embedding('king'))"),
        gensim.get_vector("king", norm=True),
        atol=1e-7,
    )


def test_the_google_analogies(db, gensim, lower):
    text = Path(datapath("questions-words.txt")).read_text(encoding="utf-8")
    rows = db.execute(
        "SELECT section, answered, correct FROM hypercube.evaluate_analogies(%s, letters_only => true)",
        (text,),
    ).fetchall()
    _, sections = lower.evaluate_word_analogies(datapath("questions-words.txt"))
    theirs = [
        (section["section"], len(section["correct"]) + len(section["incorrect"]), len(section["correct"]))
        for section in sections[:-1]
    ]
    assert rows[:-1] == theirs
    assert rows[-1] == ("total", 12154, 9172)
    # gensim's evaluation knows no other method; 9434 is what its most_similar_cosmul gives for these.
    statement = (
        "SELECT correct FROM hypercube.evaluate_analogies(%s, letters_only => true, method => '3cosmul')"
        " WHERE section = 'total'"
    )
    assert one(db, statement, text) == 9434


@pytest.mark.parametrize("name", ["wordsim353.tsv", "simlex999.txt"])
def test_pairs_of_words(db, gensim, name):
    text = Path(datapath(name)).read_text(encoding="utf-8")
    ours = db.execute("SELECT * FROM hypercube.evaluate_similarity(%s)", (text,)).fetchone()
    pearson, spearman, unknown = gensim.evaluate_word_pairs(datapath(name))

    pairs, answered, coverage, our_spearman, our_pearson = ours
    assert our_pearson == pytest.approx(pearson.statistic, abs=1e-6)
    assert our_spearman == pytest.approx(spearman.statistic, abs=1e-6)
    assert 100 * (1 - coverage) == pytest.approx(unknown) and coverage == answered / pairs


def test_what_gensim_calls_otherwise_is_a_short_statement(db, gensim):
    """The recipes of doc/reference.md."""
    words = ["queen", "whale", "prince"]
    given = "SELECT w FROM unnest(%s::text[]) AS w ORDER BY hypercube.similarity('king', w) DESC LIMIT 1"
    assert one(db, given, words) == gensim.most_similar_to_given("king", words)
    distances = "SELECT array_agg(1 - hypercube.similarity('king', w) ORDER BY n) FROM unnest(%s::text[])"
    np.testing.assert_allclose(
        one(db, distances + " WITH ORDINALITY AS w (w, n)", words), gensim.distances("king", words), atol=1e-6
    )
    relative = (
        "SELECT hypercube.similarity('king', 'queen')"
        " / (SELECT sum(score) FROM hypercube.semantic_neighbors('king', 10))"
    )
    assert one(db, relative) == pytest.approx(gensim.relative_cosine_similarity("king", "queen"), abs=1e-6)


def test_an_unknown_word_is_unknown_to_both(db, gensim):
    with pytest.raises(KeyError):
        gensim.most_similar("🐋")
    with pytest.raises(psycopg.errors.UndefinedObject):
        db.execute("SELECT * FROM hypercube.most_similar(ARRAY['🐋'])")
