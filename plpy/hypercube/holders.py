"""Every statement about what keeps compositions and atoms: documents, vocabularies, roles.

Names are qualified and values are bound; many rows are one statement over arrays.
"""

from hypercube import boundary


def keep_composition(composition_id, role):
    """Let a composition stay for a role; return its new holder, None where it stays already."""
    if boundary.rows(
        "SELECT FROM hypercube.kept_composition WHERE composition_id = $1 AND owner = $2",
        types=("bytea", "name"),
        args=(composition_id, role),
    ):
        return None
    holder = create_holder(role=role)
    boundary.write(
        "INSERT INTO hypercube.kept_composition (composition_id, owner, holder_id) VALUES ($1, $2, $3)",
        types=("bytea", "name", "int"),
        args=(composition_id, role, holder),
    )
    return holder


def release_composition(composition_id, role):
    """Take back keep_composition; return its holder, or None where it was not kept."""
    found = boundary.rows(
        "DELETE FROM hypercube.kept_composition WHERE composition_id = $1 AND owner = $2 RETURNING holder_id",
        types=("bytea", "name"),
        args=(composition_id, role),
    )
    return found[0]["holder_id"] if found else None


def create_holder(model_id=None, role=None):
    """Insert a holder of compositions: a model or a role; return its id."""
    return boundary.rows(
        "INSERT INTO hypercube.holder (model_id, role) VALUES ($1, $2) RETURNING id",
        types=("int", "name"),
        args=(model_id, role),
    )[0]["id"]


def create_holders(document_ids):
    """Insert documents as holders of compositions; return the id of each."""
    found = boundary.rows(
        "INSERT INTO hypercube.holder (document_id)"
        " SELECT id FROM unnest($1) WITH ORDINALITY AS d (id, place) ORDER BY place"
        " RETURNING document_id, id",
        types=("int[]",),
        args=(document_ids,),
    )
    ids = {row["document_id"]: row["id"] for row in found}
    return [ids[one] for one in document_ids]


def holder_of_model(model_id):
    """Return the holder of what the vocabulary of a model is spelled with."""
    return boundary.rows(
        "SELECT id FROM hypercube.holder WHERE model_id = $1", types=("int",), args=(model_id,)
    )[0]["id"]


def holders_of_documents(document_ids):
    """Return the holders of what some documents are made of."""
    found = boundary.rows(
        "SELECT id FROM hypercube.holder WHERE document_id = ANY ($1)",
        types=("int[]",),
        args=(document_ids,),
    )
    return [row["id"] for row in found]


def hold(holder_ids, ids):
    """Say which holders are made of which compositions and atoms: two lists of one length."""
    boundary.write(
        "INSERT INTO hypercube.holding (composition_id, holder_id)"
        " SELECT id, holder_id FROM unnest($1, $2) AS held (holder_id, id)",
        types=("int[]", "bytea[]"),
        args=(holder_ids, ids),
    )


def held(holder_id):
    """Return the ids of what a holder is made of, sorted."""
    return (
        boundary.rows(
            "SELECT array_agg(composition_id ORDER BY composition_id) AS ids"
            " FROM hypercube.holding WHERE holder_id = $1",
            types=("int",),
            args=(holder_id,),
        )[0]["ids"]
        or []
    )


def release(holder_id, ids):
    """Take back hold, and delete what nothing holds any more."""
    boundary.write(
        "DELETE FROM hypercube.holding WHERE holder_id = $1 AND composition_id = ANY ($2)",
        types=("int", "bytea[]"),
        args=(holder_id, ids),
    )
    boundary.write(
        "DELETE FROM hypercube.composition AS c WHERE c.id = ANY ($1)"
        " AND NOT EXISTS (SELECT FROM hypercube.holding AS h WHERE h.composition_id = c.id)",
        types=("bytea[]",),
        args=(ids,),
    )
    boundary.write(
        "DELETE FROM hypercube.atom AS a WHERE a.id = ANY ($1)"
        " AND NOT (SELECT v.seeded FROM hypercube.atom_map AS v)"
        " AND NOT EXISTS (SELECT FROM hypercube.holding AS h WHERE h.composition_id = a.id)",
        types=("bytea[]",),
        args=(ids,),
    )


def drop_holder(holder_id):
    """Delete a holder that holds nothing any more."""
    boundary.write("DELETE FROM hypercube.holder WHERE id = $1", types=("int",), args=(holder_id,))
