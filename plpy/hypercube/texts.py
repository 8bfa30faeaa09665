"""Every statement about atoms, compositions and documents.

Names are qualified and values are bound; many rows are one statement over
arrays, and nothing here runs for more than about a second.
"""

from hypercube import boundary
from hypercube.errors import UnknownLanguage


def analyze():
    """Tell the planner what the tables of texts hold now."""
    boundary.rows(
        "ANALYZE hypercube.atom, hypercube.composition, hypercube.document, hypercube.sentence,"
        " hypercube.sentence_search, hypercube.sentence_token, hypercube.sentence_vector, hypercube.sequence"
    )


def tidy():
    """Bring what was inserted lately into the indexes: until then every lookup would read through it."""
    boundary.rows(
        "SELECT gin_clean_pending_list('hypercube.composition_parent_index'),"
        " gin_clean_pending_list('hypercube.sentence_search_words_index'),"
        " gin_clean_pending_list('hypercube.document_words_index')"
    )


def store_atoms(codepoints, ids, points, hilberts):
    """Insert atoms that are not there yet; `points` has shape (n, 4); return how many were new."""
    return boundary.write(
        "INSERT INTO hypercube.atom (codepoint, id, point, hilbert)"
        " SELECT codepoint, id, hypercube._point(ARRAY[x, y, z, w]), hilbert"
        " FROM unnest($1, $2, $3, $4, $5, $6, $7) AS a (codepoint, id, x, y, z, w, hilbert)"
        " ON CONFLICT DO NOTHING",
        types=("int[]", "bytea[]", *["float8[]"] * 4, "bytea[]"),
        args=(codepoints, ids, *points.T.tolist(), hilberts),
    )


def map_version(version):
    """Return by which version of the map the atoms are placed; `version` where there are none yet."""
    found = boundary.rows("SELECT version FROM hypercube.atom_map")
    if not found:
        boundary.write(
            "INSERT INTO hypercube.atom_map (version) VALUES ($1)", types=("int",), args=(version,)
        )
        return version
    return found[0]["version"]


def stored_atoms(codepoints):
    """Return those of the code points that are stored."""
    return {
        row["codepoint"]
        for row in boundary.rows(
            "SELECT codepoint FROM hypercube.atom WHERE codepoint = ANY ($1)",
            types=("int[]",),
            args=(codepoints,),
        )
    }


def stored_compositions(ids):
    """Return those of the ids that are stored."""
    return {
        row["id"]
        for row in boundary.rows(
            "SELECT c.id FROM unnest($1) AS asked (id) JOIN hypercube.composition AS c ON c.id = asked.id",
            types=("bytea[]",),
            args=(ids,),
        )
    }


def store_compositions(ids, labels, depths, atom_counts, centroids, hilberts, children):
    """Insert compositions that are not there yet; return how many were new."""
    return boundary.write(
        "INSERT INTO hypercube.composition"
        " (id, label, depth, child_count, atom_count, centroid, hilbert, children)"
        " SELECT id, label, depth, octet_length(children) / 32, atoms, hypercube._point(ARRAY[x, y, z, w]),"
        "  hilbert, children"
        " FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
        "  AS c (id, label, depth, atoms, x, y, z, w, hilbert, children)"
        " ON CONFLICT DO NOTHING",
        types=("bytea[]", "text[]", "int[]", "int[]", *["float8[]"] * 4, "bytea[]", "bytea[]"),
        args=(ids, labels, depths, atom_counts, *centroids.T.tolist(), hilberts, children),
    )


def compositions(ids):
    """Return id, label, whether that is the whole text, and children of compositions, in no order."""
    return boundary.rows(
        "SELECT c.id, c.label, c.children,"
        " length(c.label) = c.atom_count AND strpos(c.label, '\N{SYMBOL FOR NULL}') = 0 AS whole"
        " FROM unnest($1) AS asked (id) JOIN hypercube.composition AS c ON c.id = asked.id",
        types=("bytea[]",),
        args=(ids,),
    )


def codepoints(ids):
    """Return a dict of the id of an atom to its code point, for those of the ids that are atoms."""
    found = boundary.rows(
        "SELECT a.id, a.codepoint FROM unnest($1) AS asked (id) JOIN hypercube.atom AS a ON a.id = asked.id",
        types=("bytea[]",),
        args=(ids,),
    )
    return {row["id"]: row["codepoint"] for row in found}


def words_of_length(shortest, longest):
    """Return the ids and labels of compositions of atoms with that many atoms."""
    found = boundary.rows(
        "SELECT array_agg(c.id ORDER BY c.id) AS ids, array_agg(c.label ORDER BY c.id) AS labels"
        " FROM hypercube.composition AS c WHERE c.depth = 1 AND c.atom_count BETWEEN $1 AND $2",
        types=("int", "int"),
        args=(shortest, longest),
    )[0]
    return found["ids"] or [], found["labels"] or []


def keep_composition(composition_id, role):
    """Let a composition stay for a role; again is no error."""
    boundary.write(
        "INSERT INTO hypercube.kept_composition (composition_id, owner) VALUES ($1, $2)"
        " ON CONFLICT DO NOTHING",
        types=("bytea", "name"),
        args=(composition_id, role),
    )


def release_composition(composition_id, role):
    """Take back keep_composition; return whether it was kept."""
    return boundary.write(
        "DELETE FROM hypercube.kept_composition WHERE composition_id = $1 AND owner = $2",
        types=("bytea", "name"),
        args=(composition_id, role),
    )


def drop_compositions(ids):
    """Delete those compositions that nothing refers to; return id and children of each."""
    return boundary.rows(
        "DELETE FROM hypercube.composition AS c USING unnest($1) AS dropped (id)"
        " WHERE c.id = dropped.id RETURNING c.id, c.children",
        types=("bytea[]",),
        args=(_without_parents(_without_users(ids)),),
    )


def _without_users(ids):
    """Return those of the ids that are compositions which only other compositions may need."""
    found = boundary.rows(
        "SELECT c.id FROM unnest($1) AS asked (id) JOIN hypercube.composition AS c ON c.id = asked.id"
        " WHERE NOT EXISTS (SELECT FROM hypercube.token AS t WHERE t.composition_id = c.id)"
        " AND NOT EXISTS (SELECT FROM hypercube.sentence AS s WHERE s.composition_id = c.id)"
        " AND NOT EXISTS (SELECT FROM hypercube.document AS d WHERE d.composition_id = c.id)"
        " AND NOT EXISTS (SELECT FROM hypercube.kept_composition AS k WHERE k.composition_id = c.id)",
        types=("bytea[]",),
        args=(ids,),
    )
    return [row["id"] for row in found]


def _without_parents(ids):
    """Return those of the ids that no composition has as a child.

    Always by the index: statistics from before the first documents say that there are no parents,
    and every one of them would be compared with every id.
    """
    before = boundary.rows("SELECT current_setting('enable_seqscan') AS value")[0]["value"]
    _let_scan("off")
    found = boundary.rows(
        "SELECT asked.id FROM unnest($1) AS asked (id) WHERE NOT EXISTS ("
        "  SELECT FROM hypercube.composition AS p"
        "  WHERE p.depth > 1 AND hypercube._child_ids(p.children) @> ARRAY[asked.id])",
        types=("bytea[]",),
        args=(ids,),
    )
    _let_scan(before)
    return [row["id"] for row in found]


def _let_scan(value):
    boundary.rows("SELECT set_config('enable_seqscan', $1, true)", types=("text",), args=(value,))


def documents(names):
    """Return the documents of some names: id, name, owner, composition, model, digest, metadata, language."""
    return boundary.rows(
        "SELECT d.id, d.name, d.owner, d.composition_id, d.model_id, d.digest, d.metadata, d.language"
        " FROM hypercube.document AS d WHERE d.name = ANY ($1) ORDER BY d.name",
        types=("text[]",),
        args=(names,),
    )


def placed_sentences(document_id):
    """Return the ids of the sentences of a document, one after the other, and whether all are in place."""
    found = boundary.rows(
        "SELECT string_agg(composition_id, ''::bytea ORDER BY ordinal) AS ids,"
        " bool_and(ordinal = place AND start = before) AS placed FROM ("
        "  SELECT s.composition_id, s.ordinal, s.start, row_number() OVER upto AS place,"
        "   sum(length(c.label)) OVER upto - length(c.label) AS before"
        "  FROM hypercube.sentence AS s JOIN hypercube.composition AS c ON c.id = s.composition_id"
        "  WHERE s.document_id = $1 WINDOW upto AS (ORDER BY s.ordinal)) AS x",
        types=("int",),
        args=(document_id,),
    )[0]
    return found["ids"] or b"", found["placed"] is not False


def documents_without_model():
    """Return the documents that no model reads: id, name, owner."""
    return boundary.rows(
        "SELECT id, name, owner FROM hypercube.document WHERE model_id IS NULL ORDER BY name"
    )


def sentences_of(document_ids):
    """Return (model_id, composition_id) of each sentence of some documents, one entry for each place."""
    found = boundary.rows(
        "SELECT d.model_id, s.composition_id FROM hypercube.document AS d"
        " JOIN hypercube.sentence AS s ON s.document_id = d.id WHERE d.id = ANY ($1)"
        " ORDER BY s.document_id, s.ordinal",
        types=("int[]",),
        args=(document_ids,),
    )
    return [(row["model_id"], row["composition_id"]) for row in found]


def set_model(document_ids, model_id):
    """Say which model reads some documents."""
    boundary.write(
        "UPDATE hypercube.document SET model_id = $2 WHERE id = ANY ($1)",
        types=("int[]", "int"),
        args=(document_ids, model_id),
    )


def in_documents(ids):
    """Return those of the sentences that a document has."""
    found = boundary.rows(
        "SELECT asked.id FROM unnest($1) AS asked (id)"
        " WHERE EXISTS (SELECT FROM hypercube.sentence AS s WHERE s.composition_id = asked.id)",
        types=("bytea[]",),
        args=(ids,),
    )
    return [row["id"] for row in found]


def times_in_documents(model_id):
    """Return how often each sentence stands in the documents of a model."""
    found = boundary.rows(
        "SELECT array_agg(x.composition_id) AS ids, array_agg(x.n) AS times FROM ("
        "  SELECT s.composition_id, count(*) AS n FROM hypercube.document AS d"
        "  JOIN hypercube.sentence AS s ON s.document_id = d.id WHERE d.model_id = $1"
        "  GROUP BY 1 ORDER BY 1) AS x",
        types=("int",),
        args=(model_id,),
    )[0]
    return dict(zip(found["ids"] or [], found["times"] or [], strict=True))


def language(name):
    """Return the name of a text search configuration as it is kept; NULL means that of the session."""
    found = boundary.rows(
        "SELECT CASE n.nspname WHEN 'pg_catalog' THEN c.cfgname::text"
        "  ELSE format('%I.%I', n.nspname, c.cfgname) END AS name"
        " FROM coalesce($1, current_setting('default_text_search_config')) AS asked, pg_ts_config AS c"
        " JOIN pg_namespace AS n ON n.oid = c.cfgnamespace"
        " WHERE (format('%I.%I', n.nspname, c.cfgname) = asked"
        "  OR n.nspname = 'pg_catalog' AND c.cfgname = asked)"
        # What some may not use, or what goes with a session, would not be there for the others.
        " AND has_schema_privilege('public', n.oid, 'USAGE') AND NOT starts_with(n.nspname, 'pg_temp')",
        types=("text",),
        args=(name,),
    )
    if not found:
        raise UnknownLanguage(name)
    return found[0]["name"]


def store_document(fields, content):
    """Insert a document from a dict of its columns and the text that is searched; return its id."""
    return boundary.rows(
        "INSERT INTO hypercube.document (name, composition_id, digest, bytes, characters, sentences,"
        "  language, model_id, metadata, owner, words)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, hypercube._searchable($7, $11)) RETURNING id",
        types=(
            "text", "bytea", "bytea", "bigint", "int", "int", "text", "int", "jsonb", "name", "text",
        ),
        args=(
            fields["name"], fields["composition_id"], fields["digest"], fields["bytes"], fields["characters"],
            fields["sentences"], fields["language"], fields["model_id"],
            fields["metadata"], fields["owner"], content,
        ),
    )[0]["id"]  # fmt: skip


def store_sentences(document_id, first, ids, starts):
    """Insert sentences of a document, numbered from `first`."""
    boundary.write(
        "INSERT INTO hypercube.sentence (document_id, ordinal, composition_id, start)"
        " SELECT $1, $2 + place - 1, id, start"
        " FROM unnest($3, $4) WITH ORDINALITY AS s (id, start, place)",
        types=("int", "int", "bytea[]", "int[]"),
        args=(document_id, first, ids, starts),
    )


def store_searchable(ids, language):
    """Insert the words of sentences, unless they are there."""
    boundary.write(
        "INSERT INTO hypercube.sentence_search (composition_id, language, words)"
        " SELECT c.id, $2, to_tsvector($2::regconfig, c.label)"
        " FROM unnest($1) AS asked (id) JOIN hypercube.composition AS c ON c.id = asked.id"
        " ON CONFLICT DO NOTHING",
        types=("bytea[]", "text"),
        args=(ids, language),
    )


def drop_documents(ids):
    """Delete documents and their sentences; return a list of (model_id, composition_id) of each sentence."""
    found = boundary.rows(
        "DELETE FROM hypercube.sentence AS s USING hypercube.document AS d"
        " WHERE d.id = ANY ($1) AND s.document_id = d.id RETURNING d.model_id, s.composition_id",
        types=("int[]",),
        args=(ids,),
    )
    boundary.write("DELETE FROM hypercube.document WHERE id = ANY ($1)", types=("int[]",), args=(ids,))
    return [(row["model_id"], row["composition_id"]) for row in found]


def drop_sentences(ids):
    """Delete what is kept for sentences that no document has; return model and id of vectors that went."""
    boundary.write(
        "DELETE FROM hypercube.sentence_search AS x WHERE x.composition_id = ANY ($1)"
        " AND NOT EXISTS (SELECT FROM hypercube.sentence AS s JOIN hypercube.document AS d"
        "  ON d.id = s.document_id WHERE s.composition_id = x.composition_id AND d.language = x.language)",
        types=("bytea[]",),
        args=(ids,),
    )
    boundary.write(
        "DELETE FROM hypercube.sentence_token AS x WHERE x.composition_id = ANY ($1)"
        " AND NOT EXISTS (SELECT FROM hypercube.sentence AS s JOIN hypercube.document AS d"
        "  ON d.id = s.document_id WHERE s.composition_id = x.composition_id AND d.model_id = x.model_id)",
        types=("bytea[]",),
        args=(ids,),
    )
    found = boundary.rows(
        "DELETE FROM hypercube.sentence_vector AS x WHERE x.composition_id = ANY ($1)"
        " AND NOT EXISTS (SELECT FROM hypercube.sentence AS s JOIN hypercube.document AS d"
        "  ON d.id = s.document_id WHERE s.composition_id = x.composition_id AND d.model_id = x.model_id)"
        " RETURNING x.model_id, x.composition_id",
        types=("bytea[]",),
        args=(ids,),
    )
    return [(row["model_id"], row["composition_id"]) for row in found]
