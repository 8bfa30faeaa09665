"""Every statement about limits, and about what is held to them.

Names are qualified and values are bound.
"""

from hypercube import boundary

_USED = {
    "models": "SELECT count(*) AS used FROM hypercube.model WHERE owner = $1",
    "documents": "SELECT count(*) AS used FROM hypercube.document WHERE owner = $1",
    # The length of what is stored out of line is known without reading it.
    "stored_bytes": "SELECT (coalesce((SELECT sum(t.bytes) FROM hypercube.model AS m"
    "  JOIN hypercube.tensor AS t ON t.model_id = m.id WHERE m.owner = $1 AND t.stored), 0)"
    " + coalesce((SELECT sum(octet_length(f.content)) FROM hypercube.model AS m"
    "  JOIN hypercube.model_file AS f ON f.model_id = m.id WHERE m.owner = $1), 0)"
    " + coalesce((SELECT sum(d.bytes + coalesce(octet_length(d.metadata::text), 0))"
    "  FROM hypercube.document AS d WHERE d.owner = $1), 0)"
    " + coalesce((SELECT sum(octet_length(p.data)) FROM hypercube.upload AS u"
    "  JOIN hypercube.upload_part AS p ON p.upload_id = u.id WHERE u.owner = $1), 0))::bigint AS used",
}
_SIZES = {
    "models": "SELECT coalesce((SELECT sum(t.bytes) FROM hypercube.tensor AS t"
    "  WHERE t.model_id = m.id AND t.stored), 0)::bigint"
    " + coalesce((SELECT sum(octet_length(f.content)) FROM hypercube.model_file AS f"
    "  WHERE f.model_id = m.id), 0)::bigint AS size FROM hypercube.model AS m WHERE m.name = $1",
    "documents": "SELECT bytes + coalesce(octet_length(metadata::text), 0) AS size"
    " FROM hypercube.document WHERE name = $1",
}


def are_set(what):
    """Return whether a limit of a kind is visible to whoever runs this: where none is, none applies."""
    return boundary.rows(
        "SELECT EXISTS (SELECT FROM hypercube.role_limit WHERE what = $1) AS found",
        types=("text",),
        args=(what,),
    )[0]["found"]


def find(number, what):
    """Return the limit that the role of a number is held to: value, role it was set for, asking; or None."""
    found = boundary.rows(
        "SELECT f.value, f.role, pg_get_userbyid($1)::text AS asking FROM hypercube._find_limit($1, $2) AS f",
        types=("oid", "text"),
        args=(number, what),
    )
    return found[0] if found else None


def role_number(name):
    """Return the number of a role, or None."""
    found = boundary.rows(
        "SELECT oid::bigint AS number FROM pg_roles WHERE rolname = $1", types=("name",), args=(name,)
    )
    return found[0]["number"] if found else None


def role_numbers():
    """Return the numbers of all roles."""
    return {row["number"] for row in boundary.rows("SELECT oid::bigint AS number FROM pg_roles")}


def used(role, what):
    """Return how much a role owns: models, documents or stored bytes."""
    return boundary.rows(_USED[what], types=("name",), args=(role,))[0]["used"]


def size(what, name):
    """Return the stored bytes of one of the models or documents."""
    return boundary.rows(_SIZES[what], types=("text",), args=(name,))[0]["size"]


def store(role, what, value, setter):
    """Insert a limit, or put it in the place of the one before."""
    boundary.write(
        "INSERT INTO hypercube.role_limit (role, what, value, set_by) VALUES ($1, $2, $3, $4)"
        " ON CONFLICT (role, what) DO UPDATE"
        " SET (value, set_by, set_at) = (excluded.value, excluded.set_by, excluded.set_at)",
        types=("name", "text", "bigint", "name"),
        args=(role, what, value, setter),
    )


def remove(role, what):
    """Return whether there was a limit; there no longer is."""
    return bool(
        boundary.write(
            "DELETE FROM hypercube.role_limit WHERE role = $1 AND what = $2",
            types=("name", "text"),
            args=(role, what),
        )
    )


def take_turn(role):
    """Wait until no other transaction stores bytes for a role; held until this one ends."""
    boundary.write(
        "INSERT INTO hypercube.limit_turn (role) VALUES ($1) ON CONFLICT DO NOTHING",
        types=("name",),
        args=(role,),
    )
    boundary.rows(
        "SELECT FROM hypercube.limit_turn WHERE role = $1 FOR UPDATE", types=("name",), args=(role,)
    )


def documents(names):
    """Return name, owner and bytes of the documents of some names."""
    return boundary.rows(
        "SELECT name, owner, bytes + coalesce(octet_length(metadata::text), 0) AS bytes"
        " FROM hypercube.document WHERE name = ANY ($1)",
        types=("text[]",),
        args=(names,),
    )


def part_size(upload_id, ordinal):
    """Return how many bytes a part of an upload has, 0 where it is missing."""
    found = boundary.rows(
        "SELECT octet_length(data) AS size FROM hypercube.upload_part WHERE upload_id = $1 AND ordinal = $2",
        types=("uuid", "int"),
        args=(upload_id, ordinal),
    )
    return found[0]["size"] if found else 0
