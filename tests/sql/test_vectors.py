"""Arithmetic on vectors in SQL, against numpy, and what is no vector."""

import numpy as np
import psycopg
import pytest

from rows import one


@pytest.fixture
def blank(server):
    with server.connect(dbname="blank") as db:
        yield db
        db.rollback()


def test_it_is_numpys(blank):
    random = np.random.default_rng(0)
    a, b = random.normal(size=(2, 384)).astype(np.float32)
    args = (a.tolist(), b.tolist())
    np.testing.assert_array_equal(
        np.float32(one(blank, "SELECT hypercube.add(%s::real[], %s::real[])", *args)), a + b
    )
    np.testing.assert_array_equal(
        np.float32(one(blank, "SELECT hypercube.subtract(%s::real[], %s::real[])", *args)), a - b
    )
    scaled = np.float32(one(blank, "SELECT hypercube.scale(%s::real[], -0.3)", args[0]))
    np.testing.assert_allclose(scaled, a.astype(np.float64) * -0.3, rtol=1e-7)
    unit = np.float32(one(blank, "SELECT hypercube.normalise(%s::real[])", args[0]))
    np.testing.assert_allclose(unit, a / np.linalg.norm(a.astype(np.float64)), rtol=2e-7)
    cosine = (
        a.astype(np.float64) @ b / np.linalg.norm(a.astype(np.float64)) / np.linalg.norm(b.astype(np.float64))
    )
    assert one(blank, "SELECT hypercube.similarity(%s::real[], %s::real[])", *args) == pytest.approx(
        cosine, abs=1e-7
    )


def test_it_needs_no_python(server):
    with server.connect(dbname="blank") as db:
        db.execute("SELECT hypercube.normalise(hypercube.add('{1,2}', hypercube.scale('{3,4}', 2)))")
        libraries = open(f"/proc/{db.info.backend_pid}/maps", encoding="utf-8")
        with libraries:
            assert "plpython3" not in libraries.read()


def test_an_analogy_can_be_put_together_by_hand(db):
    vector = (
        "hypercube.add(hypercube.normalise(hypercube.embedding('woman')), hypercube.subtract("
        "hypercube.normalise(hypercube.embedding('king')), hypercube.normalise(hypercube.embedding('man'))))"
    )
    by_hand = db.execute(f"SELECT label FROM hypercube.nearest({vector}, 6)").fetchall()
    assert {row[0] for row in by_hand} >= {"king", "queen"}
    middle = "hypercube.centroid(ARRAY['king', 'queen'])"
    found = db.execute(f"SELECT label, score FROM hypercube.nearest({middle}, 12)").fetchall()
    rows = db.execute("SELECT label, score FROM hypercube.midpoint('king', 'queen', 10)").fetchall()
    kept = [row for row in found if row[0] not in ("king", "queen")]
    assert [row[0] for row in kept] == [row[0] for row in rows]
    assert [row[1] for row in kept] == pytest.approx([row[1] for row in rows], abs=1e-6)


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        ("add(NULL, '{1}')", "must not be null"),
        ("add('{1}', NULL)", "must not be null"),
        ("add('{1,NULL}', '{1,2}')", "hold a null"),
        ("add('{1,2}', '{1,2,3}')", "have 2 and 3 numbers"),
        ("add('{}', '{}')", "0 dimensions of an array"),
        ("add('{{1,2}}', '{1,2}')", "2 dimensions of an array"),
        ("subtract('{NaN}', '{1}')", "NaN or infinity"),
        ("subtract('{1}', '{-Infinity}')", "NaN or infinity"),
        ("scale('{1}', NULL)", "no finite number: null"),
        ("scale('{1}', 'NaN')", "no finite number: NaN"),
        ("scale('{Infinity}', 1)", "NaN or infinity"),
        ("normalise('{0,0}')", "is zero"),
        ("normalise(NULL)", "must not be null"),
        ("similarity('{0,0}'::real[], '{1,2}')", "is zero"),
        ("similarity('{1}'::real[], '{1,2}')", "have 1 and 2 numbers"),
    ],
)
def test_what_is_no_vector_is_refused(blank, call, problem):
    with pytest.raises(psycopg.errors.InvalidParameterValue, match=problem) as refusal:
        blank.execute(f"SELECT hypercube.{call}")
    assert refusal.value.diag.message_hint


def test_what_leaves_the_range_is_the_servers_own_error(blank):
    with pytest.raises(psycopg.errors.NumericValueOutOfRange):
        blank.execute("SELECT hypercube.scale('{3e38}', 10)")
    blank.rollback()
    assert one(blank, "SELECT hypercube.normalise('{3e38,4e37}')")[0] == pytest.approx(0.99122, abs=1e-4)
    assert one(blank, "SELECT hypercube.normalise('{1e-38,0}')") == [1.0, 0.0]
    assert one(blank, "SELECT hypercube.normalise('{1e-30,1e20}')") == [0.0, 1.0]
    assert one(blank, "SELECT hypercube.scale('{1e-30}', 1e-30)") == [0.0]
    assert one(blank, "SELECT hypercube.similarity('{1,0}'::real[], '{1e-38,1e38}'::real[])") == 0.0


def test_embeddings_of_one_model_do_not_fit_another(db):
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="384 and 256"):
        db.execute(
            "SELECT hypercube.add(hypercube.embedding('king'), hypercube.embedding('king', 'wordllama'))"
        )
