"""What entries tell of a call: the same from every session, and of calls that change no row of a head."""

import re

from audits import log, member, verified
from rows import ingest, one
from small_models import vectors, write_model

ODD = {
    "bytea_output": "escape",
    "TimeZone": "Asia/Kolkata",
    "DateStyle": "German",
    "IntervalStyle": "sql_standard",
    "extra_float_digits": "-15",
    "quote_all_identifiers": "on",
}
# What differs from one time to the next.
TIMES = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?\+00:00$")
NUMBERS = {"id", "model_id", "holder_id"}


def alike(told):
    """Return what an entry holds without its times, which have to be those of UTC, and its numbers."""
    if isinstance(told, dict):
        return {key: alike(value) for key, value in told.items() if key not in NUMBERS}
    if isinstance(told, list):
        return [alike(one) for one in told]
    return "a time" if isinstance(told, str) and TIMES.match(told) else told


def entries_of_a_day(server, own, folder, settings):
    """Do one of each, and undo it; return what the audit holds of that."""
    before = len(log(own))
    with server.connect(dbname=own.info.dbname, autocommit=True) as db:
        for name, value in settings.items():
            db.execute("SELECT set_config(%s, %s, false)", (name, value))
        db.execute("SELECT hypercube.compose('waab waac')")
        ingest(db, folder, "m")
        db.execute("SELECT hypercube.ingest_text('d', 'Waab waac.', 'm', metadata => '{\"a\": 1.5}')")
        db.execute("SELECT hypercube.allow_target('/tmp'), hypercube.set_limit('public', 'k', 9)")
        db.execute("SELECT hypercube.upload_begin('up', 'config.json')")
        db.execute("UPDATE hypercube.composition SET label = label")
        db.execute("SELECT hypercube.upload_cancel('up')")
        db.execute("SELECT hypercube.unset_limit('public', 'k'), hypercube.disallow_target('/tmp')")
        db.execute("SELECT hypercube.drop_document('d'), hypercube.drop_model('m')")
        db.execute("SELECT hypercube.drop_composition(composition_id) FROM hypercube.kept_composition")
        assert verified(db)[0]
    shown = ("operation", "kind", "objects", "rows", "by_hand", "old", "new")
    digests = [entry["detail"] for entry in log(own)[before:] if entry["by_hand"]]
    return [{name: alike(entry[name]) for name in shown} for entry in log(own)[before:]], digests


def test_an_entry_is_spelled_alike_whatever_the_session_says(server, own, sources):
    """Or what one session did could not be compared with, nor searched for beside, what another one did."""
    folder = write_model(sources / "m", vectors(60))
    usual, odd = (entries_of_a_day(server, own, folder, settings) for settings in ({}, ODD))

    kinds = {entry["kind"] for entry in usual[0]}
    assert kinds >= {"model", "document", "upload", "allowed_target", "role_limit", "kept_composition"}
    assert odd == usual
    [root] = {row["root"] for entry in odd[0] if entry["kind"] == "model" for row in entry["new"] or []}
    assert re.fullmatch(r"\\x[0-9a-f]{64}", root)
    [digest] = odd[1]
    assert re.fullmatch("[0-9a-f]{64}", digest["keys"])


def test_calls_that_change_no_head_are_told_once_each(own, sources):
    ingest(own, write_model(sources / "m", vectors(60)), "m")
    texts = [f"Waa{letter} waab. Waab waac." for letter in "bcdefg"]
    own.execute(
        "SELECT hypercube.ingest_texts(%s::text[], %s::text[], 'm', vectors => false)",
        (list("abcdef"), texts),
    )
    own.execute("SELECT hypercube.drop_document('a')")
    for call, detail in (
        ("relate_sequences('m', minimum_count => 1)", {"documents": 5}),
        ("embed_documents('m')", {"sentences": 6}),
    ):
        before = len(log(own))
        count = one(own, f"SELECT hypercube.{call}")
        name = call.split("(")[0]
        [entry] = [entry for entry in log(own)[before:] if entry["operation"] == name]
        assert (entry["kind"], entry["objects"], entry["by_hand"]) == ("model", ["m"], False)
        assert detail.items() <= entry["detail"].items() and count in entry["detail"].values()
        # What it changes of documents is one entry for all of them, if that is shown at all.
        assert len(log(own)) - before <= 2
    assert verified(own)[0]


def test_of_many_documents_each_is_told_once_and_none_is_missed(own, sources):
    """Their first hundred say nothing about the others."""
    names = [f"text {i:03}" for i in range(130)]
    own.execute("SELECT hypercube.ingest_texts(%s::text[], %s::text[])", (names, ["Waab waac."] * 130))
    ingest(own, write_model(sources / "m", vectors(60)), "m")
    assert one(own, "SELECT hypercube.read_documents('m')") == 130
    [entry] = log(own, "operation = 'update' AND kind = 'document'")
    assert (entry["rows"], entry["by_hand"]) == (130, False)

    before = len(log(own))
    own.execute("UPDATE hypercube.document SET owner = CASE name WHEN 'text 129' THEN 'thief' ELSE owner END")
    [entry] = log(own)[before:]
    assert (entry["operation"], entry["kind"], entry["by_hand"]) == ("update", "document", True)
    assert verified(own)[0]


def test_a_refresh_of_what_all_models_agree_on_is_told_with_who_asked(server, own, sources):
    for name, seed in (("a", 1), ("b", 2)):
        ingest(own, write_model(sources / name, vectors(60, seed=seed)))
    admin = member(server, own, "refreshing_admin", "hypercube_admin")
    before = len(log(own))
    with server.connect(dbname=own.info.dbname, user=admin, autocommit=True) as db:
        # The first makes the rows, the second exchanges them.
        counts = [one(db, "SELECT hypercube.refresh_consensus()") for _ in range(2)]
    told = log(own)[before:]
    assert [(entry["operation"], entry["session_role"], entry["role"]) for entry in told] == [
        ("refresh_consensus", admin, admin)
    ] * 2
    assert [entry["detail"]["rows"] for entry in told] == counts and counts[0] > 0
    assert verified(own)[0]
