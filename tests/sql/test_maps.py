"""The map: distances are those of the points, found through the index."""

import numpy as np
import psycopg
import pytest


def test_spatial_neighbours_are_the_nearest_points(db):
    rows = db.execute("SELECT * FROM hypercube.spatial_neighbors('whale', 5)").fetchall()
    points = db.execute(
        "SELECT token_id, label, x, y, z, w FROM hypercube.map WHERE model = 'minilm'"
    ).fetchall()
    places = np.array([row[2:] for row in points])
    [whale] = [index for index, row in enumerate(points) if row[1] == "whale"]
    distances = np.linalg.norm(places - places[whale], axis=1)
    order = [index for index in np.lexsort(([row[0] for row in points], distances)) if index != whale][:5]

    assert [row[4] for row in rows] == [points[index][0] for index in order]
    assert [row[2] for row in rows] == pytest.approx(distances[order].tolist(), abs=1e-6)
    assert [row[0] for row in rows] == [1, 2, 3, 4, 5]


def test_the_gist_index_gives_the_order(db):
    model_id = db.execute("SELECT id FROM hypercube.model WHERE name = 'minilm'").fetchone()[0]
    plan = "\n".join(
        row[0]
        for row in db.execute(
            f"EXPLAIN SELECT * FROM hypercube._map_neighbors({model_id}, 'minilm', 2543, 5)"
        ).fetchall()
    )
    assert "Index Scan using projection_point_index" in plan and "Order By: (point <->" in plan


def test_every_model_is_answered_with_its_own_points(db):
    for model in ("minilm", "wordllama", "glassllm"):
        rows = db.execute(
            "SELECT DISTINCT model FROM hypercube.spatial_neighbors('the', 50, %s)", (model,)
        ).fetchall()
        assert rows == [(model,)]


def test_a_word_of_several_pieces_has_no_point_and_the_hint_says_who_answers(db):
    with pytest.raises(psycopg.errors.UndefinedObject, match='"whale" is not a token') as refusal:
        db.execute("SELECT * FROM hypercube.spatial_neighbors('whale', 5, 'wordllama')")
    assert "semantic_neighbors" in refusal.value.diag.message_hint


def test_the_quality_of_each_map_is_recorded(db):
    for row in db.execute(
        "SELECT points, components, residual, trustworthiness, neighbor_preservation, variance_explained,"
        " quality_score, eigenvalues FROM hypercube.projection_metadata"
    ).fetchall():
        points, components, residual, *shares, eigenvalues = row
        assert points > 100 and components >= 1 and residual <= 1e-4
        assert all(0 < share <= 1 for share in shares)
        assert len(eigenvalues) == 4


def test_coordinates_spread_over_all_four_axes(db):
    for model in ("minilm", "wordllama", "glassllm"):
        points = np.array(
            db.execute("SELECT x, y, z, w FROM hypercube.map WHERE model = %s", (model,)).fetchall()
        )
        assert np.isfinite(points).all() and np.abs(points).max() == pytest.approx(1.0)
        assert (points.std(axis=0) > 0.01).all()
        assert len(np.unique(points, axis=0)) > 0.99 * len(points)
