"""Every statement about sentences in the tokens and vectors of a model.

Names are qualified and values are bound; many rows are one statement over
arrays.  All but `store_relations` run for a second at most.
"""

from hypercube import boundary

_NO_STATE = {
    "sequence_window": 1,
    "minimum_count": None,
    "vectors": None,
    "relations_current": True,
}


def without_tokens(model_id, ids):
    """Return those of the sentences that are not stored in the tokens of a model."""
    found = boundary.rows(
        "SELECT asked.id FROM unnest($2) AS asked (id)"
        " WHERE NOT EXISTS (SELECT FROM hypercube.sentence_token AS t"
        "  WHERE t.model_id = $1 AND t.composition_id = asked.id)",
        types=("int", "bytea[]"),
        args=(model_id, ids),
    )
    return {row["id"] for row in found}


def store_tokens(model_id, ids, token_ids):
    """Insert sentences as lists of token ids."""
    boundary.write(
        "INSERT INTO hypercube.sentence_token (model_id, composition_id, token_ids)"
        " SELECT $1, id, string_to_array(spelled, ' ')::int[] FROM unnest($2, $3) AS s (id, spelled)",
        types=("int", "bytea[]", "text[]"),
        args=(model_id, ids, [" ".join(map(str, one)) for one in token_ids]),
    )


def tokens(model_id, ids):
    """Return the sentences of a list in the tokens of a model: id and token ids."""
    return boundary.rows(
        "SELECT t.composition_id AS id, t.token_ids FROM unnest($2) AS asked (id)"
        " JOIN hypercube.sentence_token AS t ON t.model_id = $1 AND t.composition_id = asked.id",
        types=("int", "bytea[]"),
        args=(model_id, ids),
    )


def sentence_ids(model_id):
    """Return the ids of all different sentences in documents of a model: with vectors, and others, sorted.

    What has a vector is told by the documents that the caller sees: others may have let it be computed.
    """
    found = boundary.rows(
        "SELECT array_agg(x.id ORDER BY x.id) FILTER (WHERE x.embedded) AS embedded,"
        " array_agg(x.id ORDER BY x.id) FILTER (WHERE NOT x.embedded) AS others FROM ("
        "  SELECT s.composition_id AS id, bool_or(d.embedded) AS embedded"
        "  FROM hypercube.document AS d JOIN hypercube.sentence AS s ON s.document_id = d.id"
        "  WHERE d.model_id = $1 GROUP BY s.composition_id) AS x",
        types=("int",),
        args=(model_id,),
    )[0]
    return found["embedded"] or [], found["others"] or []


def state(model_id):
    """Return what is known of the documents of a model, a dict of columns of hypercube.text_state."""
    found = boundary.rows(
        "SELECT sequence_window, minimum_count, vectors, relations_current"
        " FROM hypercube.text_state WHERE model_id = $1",
        types=("int",),
        args=(model_id,),
    )
    return found[0] if found else {**_NO_STATE}


def set_state(model_id, state):
    """Keep what `state` returns."""
    boundary.write(
        "INSERT INTO hypercube.text_state"
        " (model_id, sequence_window, minimum_count, vectors, relations_current)"
        " VALUES ($1, $2, $3, $4, $5) ON CONFLICT (model_id) DO UPDATE"
        " SET (sequence_window, minimum_count, vectors, relations_current)"
        "  = (excluded.sequence_window, excluded.minimum_count, excluded.vectors,"
        "  excluded.relations_current)",
        types=("int", "int", "int", "bytea", "bool"),
        args=(
            model_id, state["sequence_window"], state["minimum_count"], state["vectors"],
            state["relations_current"],
        ),
    )  # fmt: skip


def version(model_id):
    """Return what changes whenever the sentences with vectors of a model do, or who sees them."""
    return boundary.read_as_owner(
        lambda: boundary.rows(
            "SELECT (SELECT t.vectors FROM hypercube.text_state AS t WHERE t.model_id = $1) AS vectors,"
            " (SELECT sum(c.mark)::text FROM hypercube.reader_change AS c WHERE c.model_id = $1) AS readers",
            types=("int",),
            args=(model_id,),
        )
    )


def documents_without_vectors(model_id):
    """Return the ids of the documents of a model whose sentences were not given vectors."""
    found = boundary.rows(
        "SELECT id FROM hypercube.document WHERE model_id = $1 AND NOT embedded ORDER BY id",
        types=("int",),
        args=(model_id,),
    )
    return [row["id"] for row in found]


def memberships():
    """Return the names of the roles that the caller is a member of; grants are to names."""
    return boundary.rows(
        "SELECT array_agg(rolname::text ORDER BY rolname) AS roles FROM pg_roles"
        " WHERE pg_has_role(oid, 'MEMBER')"
    )[0]["roles"]


def add_counts(model_id, document_ids, sources, targets, counts):
    """Add to the counts of pairs in documents, and to how many pairs these have."""
    boundary.write(
        "INSERT INTO hypercube.sequence AS s (model_id, source, target, document_id, count)"
        " SELECT $1, source, target, document_id, count"
        " FROM unnest($2, $3, $4, $5) AS pair (document_id, source, target, count)"
        " ON CONFLICT (model_id, source, target, document_id) DO UPDATE SET count = s.count + excluded.count",
        types=("int", "int[]", "int[]", "int[]", "bigint[]"),
        args=(model_id, document_ids, sources, targets, counts),
    )
    boundary.write(
        "UPDATE hypercube.document AS d SET pairs = d.pairs + new.pairs FROM ("
        "  SELECT document_id, sum(count) AS pairs FROM unnest($1, $2) AS pair (document_id, count)"
        "  GROUP BY document_id) AS new WHERE d.id = new.document_id",
        types=("int[]", "bigint[]"),
        args=(document_ids, counts),
    )


def drop_counts(document_id):
    """Delete the counts of a document; return the (source, target) that were counted."""
    found = boundary.rows(
        "WITH gone AS (DELETE FROM hypercube.sequence WHERE document_id = $1 RETURNING source, target),"
        " without AS (UPDATE hypercube.document SET pairs = 0 WHERE id = $1)"
        " SELECT array_agg(source) AS sources, array_agg(target) AS targets FROM gone",
        types=("int",),
        args=(document_id,),
    )[0]
    return list(zip(found["sources"] or [], found["targets"] or [], strict=True))


def set_related(model_id, document_ids):
    """Say which documents the relations of kind S of a model are made from."""
    boundary.write(
        "UPDATE hypercube.document SET related = id = ANY ($2)"
        " WHERE model_id = $1 AND related <> (id = ANY ($2))",
        types=("int", "int[]"),
        args=(model_id, document_ids),
    )


def drop_relations(model_id):
    """Delete the relations of kind S of a model."""
    boundary.write(
        "DELETE FROM hypercube.relation WHERE model_id = $1 AND kind = 'S'", types=("int",), args=(model_id,)
    )


def drop_rare_relations(model_id, sources, targets, minimum_count):
    """Delete the relations of kind S of those of the pairs that are counted less often than that.

    Each is looked up by its key: relations that were just made are not in the statistics, and a plan that
    reads all of them would count every pair once for each.
    """
    boundary.write(
        "DELETE FROM hypercube.relation WHERE ctid = ANY (ARRAY("
        " SELECT made.place FROM unnest($2, $3) AS pair (source, target)"
        " CROSS JOIN LATERAL (SELECT r.ctid AS place FROM hypercube.relation AS r"
        "  WHERE r.model_id = $1 AND r.kind = 'S' AND r.layer = 0 AND r.head = 0"
        "  AND r.source = pair.source AND r.target = pair.target OFFSET 0) AS made"
        " WHERE $4 > (SELECT coalesce(sum(s.count), 0) FROM hypercube.sequence AS s"
        "  JOIN hypercube.document AS d ON d.id = s.document_id AND d.related"
        "  WHERE s.model_id = $1 AND s.source = pair.source AND s.target = pair.target)))",
        types=("int", "int[]", "int[]", "int"),
        args=(model_id, sources, targets, minimum_count),
    )


def store_relations(model_id, minimum_count):
    """Insert relations of kind S from the counts of the related documents; return how many."""
    return boundary.write(
        "WITH counted AS (SELECT s.source, s.target, sum(s.count)::bigint AS count"
        "  FROM hypercube.sequence AS s JOIN hypercube.document AS d ON d.id = s.document_id AND d.related"
        "  WHERE s.model_id = $1 GROUP BY s.source, s.target),"
        " total AS (SELECT sum(count)::float8 AS pairs FROM counted),"
        " source AS (SELECT source, sum(count)::float8 AS n FROM counted GROUP BY source),"
        " target AS (SELECT target, sum(count)::float8 AS n FROM counted GROUP BY target),"
        " scored AS (SELECT s.source, s.target, s.count,"
        "   (ln(s.count * total.pairs / (source.n * target.n)) / ln(2::float8))::real AS pmi"
        "  FROM counted AS s CROSS JOIN total"
        "  JOIN source ON source.source = s.source JOIN target ON target.target = s.target"
        "  WHERE s.count >= $2),"
        " ranked AS (SELECT source, target, pmi,"
        "   row_number() OVER (PARTITION BY source ORDER BY pmi DESC, count DESC, target) AS rank"
        "  FROM scored)"
        " INSERT INTO hypercube.relation (model_id, source, target, weight, rank, kind)"
        " SELECT $1, source, target, pmi, rank::smallint, 'S' FROM ranked WHERE rank <= 32767",
        types=("int", "int"),
        args=(model_id, minimum_count),
    )


def without_vectors(model_id, ids):
    """Return those of some sentences that have no vector, sorted."""
    return (
        boundary.rows(
            "SELECT array_agg(asked.id ORDER BY asked.id) AS ids FROM unnest($2) AS asked (id)"
            " WHERE NOT EXISTS (SELECT FROM hypercube.sentence_vector AS v"
            "  WHERE v.model_id = $1 AND v.composition_id = asked.id)",
            types=("int", "bytea[]"),
            args=(model_id, ids),
        )[0]["ids"]
        or []
    )


def store_vectors(model_id, ids, vectors):
    """Insert the vectors of sentences: bytes of float32, in the order of the ids."""
    boundary.write(
        "INSERT INTO hypercube.sentence_vector (model_id, composition_id, vector)"
        " SELECT $1, id, vector FROM unnest($2, $3) AS v (id, vector) ON CONFLICT DO NOTHING",
        types=("int", "bytea[]", "bytea[]"),
        args=(model_id, ids, vectors),
    )


def vector_ids(model_id, ids):
    """Return those of some sentences that have vectors of a model, one after the other, sorted."""
    return (
        boundary.rows(
            "SELECT string_agg(v.composition_id, ''::bytea ORDER BY v.composition_id) AS ids"
            " FROM hypercube.sentence_vector AS v"
            " JOIN unnest($2) AS asked (id) ON asked.id = v.composition_id"
            " WHERE v.model_id = $1",
            types=("int", "bytea[]"),
            args=(model_id, ids),
        )[0]["ids"]
        or b""
    )


def vectors(model_id, ids):
    """Return the vectors of some sentences, one after the other, by id."""
    return (
        boundary.rows(
            "SELECT string_agg(v.vector, ''::bytea ORDER BY v.composition_id) AS data"
            " FROM unnest($2) AS asked (id) JOIN hypercube.sentence_vector AS v"
            "  ON v.model_id = $1 AND v.composition_id = asked.id",
            types=("int", "bytea[]"),
            args=(model_id, ids),
        )[0]["data"]
        or b""
    )


def texts_of(ids):
    """Return the texts of sentences by their ids; the null character is shown."""
    found = boundary.rows(
        "SELECT c.id, c.label FROM unnest($1) AS asked (id)"
        " JOIN hypercube.composition AS c ON c.id = asked.id",
        types=("bytea[]",),
        args=(ids,),
    )
    return {row["id"]: row["label"] for row in found}


def passages(model_id, ids, scores, k):
    """Return the k best places of scored sentences in documents of a model: rows of hypercube.passage."""
    return boundary.rows(
        "SELECT near.score, near.document, near.sentence, near.start,"
        " rtrim(c.label, E' \\t\\r\\n') AS text FROM ("
        "  SELECT best.id, best.score, d.name AS document, s.ordinal AS sentence, s.start"
        "  FROM unnest($2, $3) AS best (id, score)"
        "  JOIN hypercube.sentence AS s ON s.composition_id = best.id"
        "  JOIN hypercube.document AS d ON d.id = s.document_id AND d.model_id = $1"
        "  ORDER BY best.score DESC, d.name, s.ordinal LIMIT $4"
        " ) AS near JOIN hypercube.composition AS c ON c.id = near.id"
        " ORDER BY near.score DESC, near.document, near.sentence",
        types=("int", "bytea[]", "real[]", "int"),
        args=(model_id, ids, scores, k),
    )


def documents(model_id):
    """Return name and sentences, their ids one after the other, of the documents of a model that have any."""
    found = boundary.rows(
        "SELECT d.name, string_agg(s.composition_id, ''::bytea ORDER BY s.ordinal) AS ids"
        " FROM hypercube.document AS d JOIN hypercube.sentence AS s ON s.document_id = d.id"
        " WHERE d.model_id = $1 GROUP BY d.id ORDER BY d.name",
        types=("int",),
        args=(model_id,),
    )
    return [(row["name"], row["ids"]) for row in found]


def beginnings(model_id, names):
    """Return how each of some documents begins, by its name."""
    found = boundary.rows(
        "SELECT d.name, left(c.label, 200) AS text FROM hypercube.document AS d"
        " JOIN hypercube.composition AS c ON c.id = d.composition_id"
        " WHERE d.model_id = $1 AND d.name = ANY ($2)",
        types=("int", "text[]"),
        args=(model_id, names),
    )
    return {row["name"]: row["text"] for row in found}


def drop_model(model_id):
    """Delete what documents have of a model; they stay without one."""
    for statement in (
        "DELETE FROM hypercube.sentence_token WHERE model_id = $1",
        "DELETE FROM hypercube.sentence_vector WHERE model_id = $1",
        "DELETE FROM hypercube.sequence WHERE model_id = $1",
        "DELETE FROM hypercube.text_state WHERE model_id = $1",
        "DELETE FROM hypercube.reader_change WHERE model_id = $1",
        "UPDATE hypercube.document SET model_id = NULL, embedded = false WHERE model_id = $1",
    ):
        boundary.write(statement, types=("int",), args=(model_id,))
