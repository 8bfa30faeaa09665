"""Every statement about who owns and who sees models and documents.

Names are qualified and values are bound.
"""

from hypercube import boundary


def grant_model(model_id, grantee):
    """Let a role see a model; return whether that is new."""
    return boundary.write(
        "UPDATE hypercube.model SET readers = readers || $2 WHERE id = $1 AND NOT $2 = ANY (readers)",
        types=("int", "name"),
        args=(model_id, grantee),
    )


def revoke_model(model_id, grantee):
    """Take back grant_model; return whether there was such a grant."""
    return boundary.write(
        "UPDATE hypercube.model SET readers = array_remove(readers, $2) WHERE id = $1 AND $2 = ANY (readers)",
        types=("int", "name"),
        args=(model_id, grantee),
    )


def give_model(model_id, owner):
    """Make a role the owner of a model."""
    boundary.write(
        "UPDATE hypercube.model SET owner = $2 WHERE id = $1",
        types=("int", "name"),
        args=(model_id, owner),
    )


def grant_document(document_id, grantee):
    """Let a role see a document; return whether that is new."""
    return boundary.write(
        "UPDATE hypercube.document SET readers = readers || $2 WHERE id = $1 AND NOT $2 = ANY (readers)",
        types=("int", "name"),
        args=(document_id, grantee),
    )


def revoke_document(document_id, grantee):
    """Take back grant_document; return whether there was such a grant."""
    return boundary.write(
        "UPDATE hypercube.document SET readers = array_remove(readers, $2)"
        " WHERE id = $1 AND $2 = ANY (readers)",
        types=("int", "name"),
        args=(document_id, grantee),
    )


def give_document(document_id, owner):
    """Make a role the owner of a document."""
    boundary.write(
        "UPDATE hypercube.document SET owner = $2 WHERE id = $1",
        types=("int", "name"),
        args=(document_id, owner),
    )


def touch_readers(model_ids):
    """Let every session look again which sentences of some models it sees.

    The mark is random: a count would come to the same number again after a rollback.
    """
    boundary.write(
        "INSERT INTO hypercube.reader_change (model_id, mark)"
        " SELECT id, (random() * 4e15)::bigint FROM unnest($1) AS touched (id) WHERE id IS NOT NULL",
        types=("int[]",),
        args=(model_ids,),
    )


def settle_readers(model_ids):
    """The same for whoever holds the lock of writers, and so may remove the marks of before."""
    boundary.write(
        "DELETE FROM hypercube.reader_change WHERE model_id = ANY ($1)", types=("int[]",), args=(model_ids,)
    )
    touch_readers(model_ids)
