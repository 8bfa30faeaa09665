"""Every statement about expectations: what a model is asked again, and what it answered.

Names are qualified and values are bound.
"""

import json

from hypercube import boundary


def store(model_id, expectations):
    """Insert expectations, dicts of the columns but the model: all of them or none."""
    boundary.write(
        "INSERT INTO hypercube.expectation"
        " (model_id, kind, ordinal, question, inputs, answers, scores, digest)"
        " SELECT $1, r.kind, r.ordinal, r.question, r.inputs, r.answers, r.scores, decode(r.digest, 'hex')"
        " FROM json_to_recordset($2) AS r (kind text, ordinal int, question text[], inputs int[],"
        "  answers int[], scores real[], digest text)",
        types=("int", "json"),
        args=(model_id, json.dumps(expectations, default=bytes.hex)),
    )


def of_model(model_id):
    """Return the expectations of a model, dicts as for `store`, but for what is no question and no digest."""
    return boundary.rows(
        "SELECT kind, ordinal, question, inputs, answers, scores, digest FROM hypercube.expectation"
        " WHERE model_id = $1 AND kind <> 'consensus' ORDER BY kind, ordinal",
        types=("int",),
        args=(model_id,),
    )


def missing():
    """Return the names of the models without expectations."""
    found = boundary.rows(
        "SELECT name FROM hypercube.model AS m WHERE NOT EXISTS (SELECT FROM hypercube.expectation AS e"
        " WHERE e.model_id = m.id AND e.kind <> 'consensus') ORDER BY name"
    )
    return [row["name"] for row in found]


def fingerprints(model_id):
    """Return the digests of all rows about the tokens of a model, by kind; for who may see all of them."""
    found = boundary.rows(
        "SELECT kind, digest FROM hypercube._fingerprints($1)", types=("int",), args=(model_id,)
    )
    return {row["kind"]: row["digest"] for row in found}


def has_its_files(model_id):
    """Return whether a model has the small files that it was stored with, None where that is not known."""
    found = boundary.rows(
        "SELECT e.digest = f.digest AS same FROM hypercube.expectation AS e"
        " JOIN hypercube._fingerprints($1) AS f ON f.kind = 'files'"
        " WHERE e.model_id = $1 AND e.kind = 'files'",
        types=("int",),
        args=(model_id,),
    )
    return found[0]["same"] if found else None


def chosen_words(model_id, count):
    """Return ids and labels of some words of a model: by the digests of their labels, always the same."""
    found = boundary.rows(
        "SELECT array_agg(token_id) AS ids, array_agg(label) AS labels FROM ("
        "  SELECT t.token_id, t.label FROM hypercube.token AS t WHERE t.model_id = $1 AND t.usable"
        "   AND t.kind = 'word' AND t.label ~ '[[:alnum:]]' AND length(t.label) <= 100"
        "  ORDER BY sha256(convert_to(t.label, 'UTF8')), t.token_id LIMIT $2) AS t",
        types=("int", "int"),
        args=(model_id, count),
    )[0]
    return found["ids"] or [], found["labels"] or []


def stored_neighbors(model_id, token_id, k):
    """Return ids and scores of the stored neighbours of a token, as a question reads them."""
    found = boundary.rows(
        "SELECT array_agg(token_id ORDER BY rank) AS ids, array_agg(score ORDER BY rank) AS scores"
        " FROM hypercube._stored_neighbors($1, '', $2, $3)",
        types=("int", "int", "int"),
        args=(model_id, token_id, k),
    )[0]
    return found["ids"] or [], found["scores"] or []


def map_neighbors(model_id, token_id, k):
    """Return ids and distances of the neighbours of a token on the map, as a question reads them."""
    found = boundary.rows(
        "SELECT array_agg(token_id ORDER BY rank) AS ids, array_agg(score ORDER BY rank) AS scores"
        " FROM hypercube._map_neighbors($1, '', $2, $3)",
        types=("int", "int", "int"),
        args=(model_id, token_id, k),
    )[0]
    return found["ids"] or [], found["scores"] or []


def points(name):
    """Return token ids, big-endian int32, and coordinates, four big-endian float64 each, of a map."""
    found = boundary.rows(
        "SELECT string_agg(int4send(token_id), '' ORDER BY token_id) AS ids,"
        " string_agg(float8send(x) || float8send(y) || float8send(z) || float8send(w), ''"
        "  ORDER BY token_id) AS points FROM hypercube.map WHERE model = $1",
        types=("text",),
        args=(name,),
    )[0]
    return found["ids"] or b"", found["points"] or b""


def any_word(model_id):
    """Return id and label of the longest word of a model with a letter; None where there is none."""
    found = boundary.rows(
        "SELECT token_id, label FROM hypercube.token WHERE model_id = $1 AND usable AND kind = 'word'"
        " AND label ~ '[[:alpha:]]' ORDER BY length(label) DESC, token_id LIMIT 1",
        types=("int",),
        args=(model_id,),
    )
    return found[0] if found else None
