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
        " hypercube.sentence_search, hypercube.sentence_token, hypercube.sentence_vector, hypercube.sequence,"
        " hypercube.holder, hypercube.holding"
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
    """Insert compositions that are not there yet."""
    boundary.write(
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


def set_seeded():
    """Say that every character is stored."""
    boundary.write("UPDATE hypercube.atom_map SET seeded = true")


def documents(names):
    """Return some documents: id, name, owner, composition, model, whether related and embedded, digest."""
    return boundary.rows(
        "SELECT d.id, d.name, d.owner, d.composition_id, d.model_id, d.related, d.embedded, d.digest"
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
    """Return the documents that no model reads, of those that the caller sees."""
    return boundary.rows(
        "SELECT id, name, owner, model_id, related FROM hypercube.document"
        " WHERE model_id IS NULL ORDER BY name"
    )


def documents_of_model(model_id):
    """Return the ids of the documents that a model reads."""
    found = boundary.rows(
        "SELECT id FROM hypercube.document WHERE model_id = $1 ORDER BY id", types=("int",), args=(model_id,)
    )
    return [row["id"] for row in found]


def documents_for_owner(model_id):
    """Return the ids of the documents that a model reads and its owner sees, as a role like others.

    An owner may see more as a superuser or an admin; that is not to reach those who see the model.
    """
    found = boundary.rows(
        "WITH RECURSIVE held (role) AS ("
        "  SELECT to_regrole(quote_ident(m.owner))::oid FROM hypercube.model AS m WHERE m.id = $1"
        "  UNION SELECT a.roleid FROM held JOIN pg_auth_members AS a ON a.member = held.role),"
        " named AS (SELECT r.rolname AS name FROM held JOIN pg_roles AS r ON r.oid = held.role"
        "  UNION ALL SELECT 'public')"
        " SELECT d.id FROM hypercube.document AS d WHERE d.model_id = $1"
        " AND (d.owner IN (SELECT n.name FROM named AS n)"
        "  OR EXISTS (SELECT FROM named AS n WHERE n.name = ANY (d.readers))) ORDER BY d.id",
        types=("int",),
        args=(model_id,),
    )
    return [row["id"] for row in found]


def sentences_of(document_id):
    """Return the ids of the sentences of a document, one entry for each place."""
    return (
        boundary.rows(
            "SELECT array_agg(composition_id ORDER BY ordinal) AS ids FROM hypercube.sentence"
            " WHERE document_id = $1",
            types=("int",),
            args=(document_id,),
        )[0]["ids"]
        or []
    )


def set_model(document_ids, model_id):
    """Say which model reads some documents; their sentences have no vectors of it yet."""
    boundary.write(
        "UPDATE hypercube.document SET model_id = $2, related = false, embedded = false WHERE id = ANY ($1)",
        types=("int[]", "int"),
        args=(document_ids, model_id),
    )


def set_embedded(document_ids):
    """Say that the sentences of some documents have vectors."""
    boundary.write(
        "UPDATE hypercube.document SET embedded = true WHERE id = ANY ($1)",
        types=("int[]",),
        args=(document_ids,),
    )


def in_documents(ids, model_id=None):
    """Return those of the sentences that a visible document has; with vectors of a model if it is named."""
    found = boundary.rows(
        "SELECT asked.id FROM unnest($1) AS asked (id)"
        " WHERE EXISTS (SELECT FROM hypercube.sentence AS s JOIN hypercube.document AS d"
        "  ON d.id = s.document_id AND ($2 IS NULL OR d.model_id = $2 AND d.embedded)"
        "  WHERE s.composition_id = asked.id)",
        types=("bytea[]", "int"),
        args=(ids, model_id),
    )
    return [row["id"] for row in found]


def language(name):
    """Return the name of a text search configuration as it is kept; NULL means that of the session."""
    found = boundary.rows(
        "SELECT CASE n.nspname WHEN 'pg_catalog' THEN c.cfgname::text"
        "  ELSE format('%I.%I', n.nspname, c.cfgname) END AS name"
        " FROM coalesce($1, current_setting('default_text_search_config')) AS asked, pg_ts_config AS c"
        " JOIN pg_namespace AS n ON n.oid = c.cfgnamespace"
        # A setting that was made while quote_all_identifiers was on has quotes that nothing needs.
        " WHERE (asked IN (format('%I.%I', n.nspname, c.cfgname),"
        """   format('"%s"."%s"', replace(n.nspname, '"', '""'), replace(c.cfgname, '"', '""')))"""
        "  OR n.nspname = 'pg_catalog' AND c.cfgname = asked)"
        # What some may not use, or what goes with a session, would not be there for the others.
        " AND has_schema_privilege('public', n.oid, 'USAGE') AND NOT starts_with(n.nspname, 'pg_temp')",
        types=("text",),
        args=(name,),
    )
    if not found:
        raise UnknownLanguage(name)
    return found[0]["name"]


_DOCUMENT = {
    "name": "text[]", "composition_id": "bytea[]", "digest": "bytea[]", "bytes": "bigint[]",
    "characters": "int[]", "sentences": "int[]", "metadata": "jsonb[]", "owner": "name[]",
    "content": "text[]",
}  # fmt: skip


def store_documents(documents, language, model_id):
    """Insert documents from dicts of their columns, and the text that is searched; return their ids."""
    found = boundary.rows(
        "INSERT INTO hypercube.document (name, composition_id, digest, bytes, characters, sentences,"
        "  metadata, owner, language, model_id, words)"
        " SELECT name, composition_id, digest, bytes, characters, sentences, metadata, owner, $10, $11,"
        "  hypercube._searchable($10, content)"
        " FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9) WITH ORDINALITY AS d (name, composition_id, digest,"
        "  bytes, characters, sentences, metadata, owner, content, place)"
        " ORDER BY place RETURNING name, id",
        types=(*_DOCUMENT.values(), "text", "int"),
        args=(*([one[column] for one in documents] for column in _DOCUMENT), language, model_id),
    )
    ids = {row["name"]: row["id"] for row in found}
    return [ids[one["name"]] for one in documents]


def store_sentences(document_ids, ordinals, ids, starts):
    """Insert sentences of documents."""
    boundary.write(
        "INSERT INTO hypercube.sentence (document_id, ordinal, composition_id, start)"
        " SELECT document_id, ordinal, id, start"
        " FROM unnest($1, $2, $3, $4) AS s (document_id, ordinal, id, start)",
        types=("int[]", "int[]", "bytea[]", "int[]"),
        args=(document_ids, ordinals, ids, starts),
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
    """Delete documents and their sentences; return the id of each sentence."""
    found = boundary.rows(
        "DELETE FROM hypercube.sentence WHERE document_id = ANY ($1) RETURNING composition_id",
        types=("int[]",),
        args=(ids,),
    )
    boundary.write("DELETE FROM hypercube.document WHERE id = ANY ($1)", types=("int[]",), args=(ids,))
    return [row["composition_id"] for row in found]


def drop_sentences(ids):
    """Delete what is kept for sentences that no document has; return rows of model and id of vectors gone."""
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
    return found
