"""Every statement about roles, and about who owns and who sees models and documents.

Names are qualified and values are bound.  Models and documents come as they were when the caller was found
to own them: one that has been given away meanwhile, while the statement waited for that, is left as it is.
"""

from hypercube import boundary
from hypercube.errors import NotAllowed, UnknownRole

ADMIN = "hypercube_admin"
EVERYBODY = "public"


def require_role(role, *, everybody=False):
    """Refuse a role that is not there; `public` is one where it may be everybody.

    Raises
    ------
    UnknownRole
    """
    if everybody and role == EVERYBODY:
        return
    known = "SELECT FROM pg_roles WHERE rolname = $1"
    if role is None or not boundary.rows(known, types=("name",), args=(role,)):
        raise UnknownRole(role)


def is_member(role, of):
    """Return whether a role is a member of another; of one that is gone, superusers are."""
    return boundary.rows(
        "SELECT coalesce(pg_has_role(asking.oid, wanted.oid, 'MEMBER'), asking.rolsuper) AS member"
        " FROM pg_roles AS asking LEFT JOIN pg_roles AS wanted ON wanted.rolname = $2"
        " WHERE asking.rolname = $1",
        types=("name", "name"),
        args=(role, of),
    )[0]["member"]


def require_owner(owned, what="model"):
    """Refuse a caller who is neither a member of the role that owns a model or a document, nor an admin.

    Raises
    ------
    NotAllowed
    """
    role = boundary.caller()
    if not is_member(role, owned["owner"]) and not is_member(role, ADMIN):
        raise NotAllowed(
            f'role "{role}" does not own {what} "{owned["name"]}"',
            hint=f"Its owner {owned['owner']} can do it, or a member of {ADMIN}.",
        )


def grant_model(model, grantee):
    """Let a role see a model; return whether that is new."""
    return boundary.write(
        "UPDATE hypercube.model SET readers = readers || $2"
        " WHERE id = $1 AND owner = $3 AND NOT $2 = ANY (readers)",
        types=("int", "name", "name"),
        args=(model["id"], grantee, model["owner"]),
    )


def revoke_model(model, grantee):
    """Take back grant_model; return whether there was such a grant."""
    return boundary.write(
        "UPDATE hypercube.model SET readers = array_remove(readers, $2)"
        " WHERE id = $1 AND owner = $3 AND $2 = ANY (readers)",
        types=("int", "name", "name"),
        args=(model["id"], grantee, model["owner"]),
    )


def give_model(model, owner):
    """Make a role the owner of a model; NotAllowed as for `hold_model`."""
    if not boundary.write(
        "UPDATE hypercube.model SET owner = $2 WHERE id = $1 AND owner = $3",
        types=("int", "name", "name"),
        args=(model["id"], owner, model["owner"]),
    ):
        raise _gone(model, "model")


def grant_document(document, grantee):
    """Let a role see a document; return whether that is new."""
    return boundary.write(
        "UPDATE hypercube.document SET readers = readers || $2"
        " WHERE id = $1 AND owner = $3 AND NOT $2 = ANY (readers)",
        types=("int", "name", "name"),
        args=(document["id"], grantee, document["owner"]),
    )


def revoke_document(document, grantee):
    """Take back grant_document; return whether there was such a grant."""
    return boundary.write(
        "UPDATE hypercube.document SET readers = array_remove(readers, $2)"
        " WHERE id = $1 AND owner = $3 AND $2 = ANY (readers)",
        types=("int", "name", "name"),
        args=(document["id"], grantee, document["owner"]),
    )


def give_document(document, owner):
    """Make a role the owner of a document; NotAllowed as for `hold_model`."""
    if not boundary.write(
        "UPDATE hypercube.document SET owner = $2 WHERE id = $1 AND owner = $3",
        types=("int", "name", "name"),
        args=(document["id"], owner, document["owner"]),
    ):
        raise _gone(document, "document")


def hold_model(model):
    """Keep others from changing the row of a model until the transaction ends.

    Raises
    ------
    NotAllowed
        It was given away or removed since it was found.
    """
    if not boundary.rows(
        "SELECT FROM hypercube.model WHERE id = $1 AND owner = $2 FOR UPDATE",
        types=("int", "name"),
        args=(model["id"], model["owner"]),
    ):
        raise _gone(model, "model")


def hold_documents(documents):
    """The same of documents."""
    held = boundary.rows(
        "SELECT d.id FROM hypercube.document AS d"
        " JOIN unnest($1, $2) AS found (id, owner) ON found.id = d.id AND found.owner = d.owner"
        " FOR UPDATE OF d",
        types=("int[]", "name[]"),
        args=([one["id"] for one in documents], [one["owner"] for one in documents]),
    )
    ids = {row["id"] for row in held}
    for document in documents:
        if document["id"] not in ids:
            raise _gone(document, "document")


def _gone(owned, what):
    return NotAllowed(
        f'{what} "{owned["name"]}" was given away or removed meanwhile',
        hint="Call again: it is decided anew.",
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
