"""Atoms in the database: all of Unicode, and ranges of the Hilbert curve for an index."""

import itertools
import os
import shutil
import tempfile

import numpy as np
import psycopg
import pytest
from blake3 import blake3

from audits import log
from hypercube import atoms, hilbert
from rows import ingest, one
from small_models import vectors, write_model

COUNT = 0x110000 - 2048


@pytest.fixture(scope="session")
def seeded(server):
    """A database "seeded" that has every character, and how many were new; four were there before."""
    with server.connect(dbname="postgres", autocommit=True) as db:
        db.execute("CREATE DATABASE seeded TEMPLATE blank")
    with server.connect(dbname="seeded", autocommit=True) as db:
        db.execute("SELECT hypercube.compose('a b! a')")
        assert one(db, "SELECT count(*) FROM hypercube.atom") == 4
        return one(db, "SELECT hypercube.seed_atoms()")


@pytest.fixture
def all_atoms(server, seeded):
    with server.connect(dbname="seeded") as connection:
        yield connection
        connection.rollback()


class TestSeeding:
    def test_every_character_is_stored_once(self, all_atoms, seeded):
        assert seeded == COUNT - 4
        assert COUNT == one(all_atoms, "SELECT count(*) FROM hypercube.atom")
        bounds = (
            "SELECT min(codepoint), max(codepoint), count(*) FILTER (WHERE codepoint BETWEEN 55296 AND 57343)"
        )
        assert all_atoms.execute(f"{bounds} FROM hypercube.atom").fetchone() == (0, 0x10FFFF, 0)
        assert one(all_atoms, "SELECT hypercube.seed_atoms()") == 0
        assert one(all_atoms, "SELECT count(*) FROM hypercube.atom") == COUNT

    def test_that_is_one_entry_of_the_audit(self, all_atoms):
        told = log(all_atoms, "operation = 'seed_atoms' OR kind IN ('atom', 'atom_map')")
        assert [(entry["operation"], entry["by_hand"]) for entry in told] == [("seed_atoms", False)]
        assert told[0]["detail"] == {"new": COUNT - 4}

    def test_they_stay_when_what_was_made_of_them_goes(self, all_atoms):
        """All of them are there, so they tell nothing of any text."""
        [(root,)] = all_atoms.execute("SELECT composition_id FROM hypercube.kept_composition").fetchall()
        assert one(all_atoms, "SELECT hypercube.drop_composition(%s)", root) > 0
        assert one(all_atoms, "SELECT count(*) FROM hypercube.composition") == 0
        assert one(all_atoms, "SELECT count(*) FROM hypercube.atom") == COUNT

    def test_rows_are_those_of_the_package(self, all_atoms):
        """To the last bit: so they are on every machine."""
        rows = all_atoms.execute(
            "SELECT codepoint, id, hilbert,"
            " ARRAY(SELECT cube_ll_coord(point, axis) FROM generate_series(1, 4) AS axis),"
            " cube_dim(point), cube_is_point(point)"
            " FROM hypercube.atom WHERE codepoint % 97 = 0 OR codepoint < 600 ORDER BY codepoint"
        ).fetchall()
        codepoints = [row[0] for row in rows]
        points = atoms.atom_points(codepoints)

        assert len(rows) > 11_000
        assert [row[1] for row in rows] == [
            blake3(chr(codepoint).encode()).digest() for codepoint in codepoints
        ]
        assert [row[2] for row in rows] == hilbert.hilbert_index(points)
        assert [row[3] for row in rows] == points.tolist()
        assert {row[4:] for row in rows} == {(4, True)}

    def test_the_overview_tells_characters_and_coordinates(self, all_atoms):
        told = all_atoms.execute(
            "SELECT character, x, y, z, w, id FROM hypercube.atom_overview WHERE codepoint IN (0, 65, 128512)"
            " ORDER BY codepoint"
        ).fetchall()
        assert [row[0] for row in told] == ["␀", "A", "😀"]
        assert [list(row[1:5]) for row in told] == atoms.atom_points([0, 65, 128512]).tolist()
        assert told[1][5] == atoms.atom_digest(65)

    def test_the_version_of_the_map_is_kept(self, own, all_atoms):
        assert one(own, "SELECT hypercube.atom_map_version()") == atoms.MAP_VERSION
        assert one(own, "SELECT count(*) FROM hypercube.atom_map") == 0
        assert all_atoms.execute("SELECT version FROM hypercube.atom_map").fetchall() == [
            (atoms.MAP_VERSION,)
        ]

    @pytest.mark.parametrize("call", ["seed_atoms()", "compose('a')"])
    def test_atoms_of_another_map_are_not_mixed_with_ours(self, own, call):
        own.execute("INSERT INTO hypercube.atom_map (version) VALUES (1)")
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="map version 1") as refusal:
            own.execute(f"SELECT hypercube.{call}")

        assert f"this package has {atoms.MAP_VERSION}" in refusal.value.diag.message_primary
        assert refusal.value.diag.message_hint.startswith("Install the package")
        assert one(own, "SELECT count(*) FROM hypercube.atom") == 0


def refused(db, call, message, hint=None):
    with pytest.raises(psycopg.errors.InvalidParameterValue, match=message) as refusal:
        db.execute(f"SELECT {call}")
    db.rollback()
    if hint:
        assert hint in refusal.value.diag.message_hint


@pytest.fixture
def blank(server):
    with server.connect(dbname="blank") as db:
        yield db
        db.rollback()


class TestHilbert:
    def test_indexes_and_points_are_those_of_the_package(self, blank):
        points = np.random.default_rng(4).uniform(-1, 1, (50, 4))
        expected = hilbert.hilbert_index(points)
        centres = hilbert.hilbert_point(expected).tolist()
        for point, index, centre in zip(points.tolist(), expected, centres, strict=True):
            assert one(blank, "SELECT hypercube.hilbert_index(cube(%s::float8[]))", point) == index
            assert one(blank, "SELECT hypercube.hilbert_point(%s) = cube(%s::float8[])", index, centre)

    def test_beyond_the_cube_points_are_clipped(self, blank):
        assert one(blank, "SELECT hypercube.hilbert_index('(-1,-1,-1,-1)')") == bytes(16)
        assert one(blank, "SELECT hypercube.hilbert_index('(-9,-9,-9,-9)')") == bytes(16)

    @pytest.mark.parametrize(
        "point",
        [
            "NULL", "'(1,2,3)'", "'(0,0,0,0,0)'", "'(0,0,0,0),(1,1,1,1)'", "cube(ARRAY[]::float8[])",
        ],
    )  # fmt: skip
    def test_what_is_no_point_of_four_coordinates_is_refused(self, blank, point):
        refused(
            blank,
            f"hypercube.hilbert_index({point})",
            "not a point of four coordinates",
            "'(0.1, 0.2, 0.3, 0.4)'",
        )

    @pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
    def test_coordinates_that_are_not_finite_are_refused(self, blank, number):
        point = f"cube(ARRAY[0, '{number}', 0, 0]::float8[])"
        refused(blank, f"hypercube.hilbert_index({point})", "coordinates must be finite")
        box = f"cube(ARRAY[0, 0, 0, 0]::float8[], ARRAY[1, '{number}', 1, 1]::float8[])"
        refused(blank, f"hypercube.hilbert_range({box})", "coordinates must be finite")

    def test_an_index_that_is_none_is_refused(self, blank):
        refused(blank, "hypercube.hilbert_point(NULL)", "must not be null", "hilbert_index(point)")
        refused(blank, r"hypercube.hilbert_point('\x00')", "16 bytes")
        refused(blank, r"hypercube.hilbert_point('')", "16 bytes")

    @pytest.mark.parametrize("box", ["NULL", "'(0,0,0),(1,1,1)'", "'(0)'", "'(0,0,0,0,0),(1,1,1,1,1)'"])
    def test_a_box_that_has_not_four_coordinates_is_refused(self, blank, box):
        refused(blank, f"hypercube.hilbert_range({box})", "not four coordinates", "'(-1,-1,-1,-1),(0,0,0,0)'")

    @pytest.mark.parametrize("ranges", ["NULL", "0", "-1", "1001"])
    def test_ranges_out_of_range_are_refused(self, blank, ranges):
        refused(
            blank,
            f"hypercube.hilbert_range('(0,0,0,0),(1,1,1,1)', {ranges})",
            "ranges is out of range",
            "1 to 1000",
        )

    def test_the_whole_cube_is_one_range_and_a_point_is_its_index(self, blank):
        everything = blank.execute(
            "SELECT * FROM hypercube.hilbert_range('(-1,-1,-1,-1),(1,1,1,1)')"
        ).fetchall()
        assert everything == [(bytes(16), b"\xff" * 16)]
        point = "'(0.1,0.2,0.3,0.4)'::cube"
        [(first, last)] = blank.execute(f"SELECT * FROM hypercube.hilbert_range({point}, 1)").fetchall()
        assert first == last == one(blank, f"SELECT hypercube.hilbert_index({point})")

    def test_corners_may_come_in_any_order(self, blank):
        ranges = "SELECT array_agg(r) FROM hypercube.hilbert_range(%s::cube) AS r"
        assert one(blank, ranges, "(0,0,0,0),(.5,.5,.5,.5)") == one(blank, ranges, "(0,.5,0,.5),(.5,0,.5,0)")

    @pytest.mark.parametrize("limit", [1, 16, 1000])
    def test_ranges_are_in_order_with_gaps_and_no_more_than_asked(self, blank, limit):
        found = blank.execute(
            "SELECT first, last FROM hypercube.hilbert_range('(-.2,-.3,-.1,.1),(.3,.2,.2,.4)', %s)", (limit,)
        ).fetchall()
        assert 1 <= len(found) <= limit and all(first <= last for first, last in found)
        numbers = [int.from_bytes(end, "big") for ends in found for end in ends]
        assert all(
            last + 1 < first
            for (_, last), (first, _) in itertools.pairwise(zip(*[iter(numbers)] * 2, strict=True))
        )


@pytest.fixture(scope="class")
def projected(server):
    """A database with a model of 6,000 points."""
    folder = tempfile.mkdtemp(prefix="hypercube-projected-", dir="/tmp")
    os.chmod(folder, 0o755)
    with server.connect(dbname="postgres", autocommit=True) as db:
        db.execute("CREATE DATABASE projected TEMPLATE blank")
    with server.connect(dbname="projected", autocommit=True) as db:
        db.execute("SELECT hypercube.allow_source(%s)", (folder,))
        ingest(db, write_model(f"{folder}/m", vectors(6000, 32)), "m")
        db.execute("ANALYZE hypercube.projection")
    shutil.rmtree(folder)
    with server.connect(dbname="projected") as connection:
        yield connection


class TestRangesWithAnIndex:
    BY_RANGES = (
        "SELECT p.token_id FROM hypercube.hilbert_range(%(box)s::cube, %(ranges)s) AS r"
        " JOIN hypercube.projection AS p ON p.model_id = 1 AND p.hilbert BETWEEN r.first AND r.last"
        " WHERE p.point <@ %(box)s::cube ORDER BY 1"
    )
    BY_LOOKING = "SELECT p.token_id FROM hypercube.projection AS p WHERE p.point <@ %(box)s::cube ORDER BY 1"

    def boxes(self, db):
        rows = db.execute(
            "SELECT ARRAY(SELECT cube_ll_coord(point, axis) FROM generate_series(1, 4) AS axis)"
            " FROM hypercube.projection ORDER BY token_id"
        ).fetchall()
        points = np.array([row[0] for row in rows])
        random = np.random.default_rng(6)
        for half in (0.0, 0.05, 0.2, 0.5, 2.0):
            for centre in points[random.choice(len(points), 4)]:
                # As corners of the box themselves, points are in it.
                low, high = (centre - half).tolist(), (centre + half * random.uniform(0, 1, 4)).tolist()
                yield "({}),({})".format(*(",".join(map(repr, corner)) for corner in (low, high)))

    @pytest.mark.parametrize("ranges", [1, 16, 300])
    def test_ranges_find_exactly_the_points_of_a_box(self, projected, ranges):
        sizes = set()
        for box in self.boxes(projected):
            told = {"box": box, "ranges": ranges}
            found = projected.execute(self.BY_RANGES, told).fetchall()
            assert found == projected.execute(self.BY_LOOKING, told).fetchall() and found
            sizes.add(len(found))
        assert len(sizes) > 4

    def test_they_are_looked_up_in_the_index(self, projected):
        """Alone; beside the box itself the planner may prefer the index of the points."""
        told = {"box": "(0,0,0,0),(.1,.1,.1,.1)", "ranges": 16}
        by_ranges = self.BY_RANGES.replace("WHERE p.point <@ %(box)s::cube ", "")
        plan = "\n".join(row[0] for row in projected.execute("EXPLAIN " + by_ranges, told))

        assert "projection_hilbert_index" in plan
