"""Every statement about uploads.

Names are qualified and values are bound.
"""

from hypercube import boundary


def expire():
    """Remove the uploads that nobody touched for a day."""
    boundary.write(
        "WITH old AS (SELECT id FROM hypercube.upload WHERE touched_at < now() - interval '1 day'"
        "  FOR UPDATE SKIP LOCKED),"
        " gone AS (DELETE FROM hypercube.upload AS u USING old WHERE u.id = old.id RETURNING u.id)"
        " DELETE FROM hypercube.upload_part AS p USING gone WHERE p.upload_id = gone.id"
    )


def count(name):
    """Return how many files of a model are being uploaded."""
    return boundary.rows(
        "SELECT count(*) AS n FROM hypercube.upload WHERE name = $1", types=("text",), args=(name,)
    )[0]["n"]


def owner(name):
    """Return who uploads a model of that name, or None."""
    found = boundary.rows(
        "SELECT owner FROM hypercube.upload WHERE name = $1 ORDER BY begun_at LIMIT 1",
        types=("text",),
        args=(name,),
    )
    return found[0]["owner"] if found else None


def begin(name, path, role):
    """Return the id of the upload of a file; one that is finished begins again without its parts."""
    found = boundary.rows(
        "INSERT INTO hypercube.upload (name, path, owner) VALUES ($1, $2, $3)"
        " ON CONFLICT (name, path) DO UPDATE SET touched_at = now()"
        " RETURNING id, digest IS NOT NULL AS finished",
        types=("text", "text", "name"),
        args=(name, path, role),
    )[0]
    if found["finished"]:
        boundary.write(
            "DELETE FROM hypercube.upload_part WHERE upload_id = $1", types=("uuid",), args=(found["id"],)
        )
        boundary.write(
            "UPDATE hypercube.upload SET digest = NULL, size = NULL WHERE id = $1",
            types=("uuid",),
            args=(found["id"],),
        )
    return found["id"]


def find(upload_id):
    """Return an upload, locked against a change by others, or None."""
    found = boundary.rows(
        "SELECT id, name, path, owner, size, digest FROM hypercube.upload WHERE id = $1 FOR UPDATE",
        types=("uuid",),
        args=(upload_id,),
    )
    return found[0] if found else None


def store_part(upload_id, ordinal, data):
    """Insert a part, or put it in the place of one that came before."""
    boundary.write(
        "INSERT INTO hypercube.upload_part (upload_id, ordinal, data) VALUES ($1, $2, $3)"
        " ON CONFLICT (upload_id, ordinal) DO UPDATE SET data = excluded.data",
        types=("uuid", "int", "bytea"),
        args=(upload_id, ordinal, data),
    )
    boundary.write(
        "UPDATE hypercube.upload SET touched_at = now() WHERE id = $1", types=("uuid",), args=(upload_id,)
    )


def parts(upload_id):
    """Return ordinal and size of the parts of a file, in order."""
    return boundary.rows(
        "SELECT ordinal, octet_length(data) AS size FROM hypercube.upload_part"
        " WHERE upload_id = $1 ORDER BY ordinal",
        types=("uuid",),
        args=(upload_id,),
    )


def read_part(upload_id, ordinal, begin, length):
    """Return some bytes of a part."""
    return boundary.rows(
        "SELECT substring(data FROM $3 + 1 FOR $4) AS data FROM hypercube.upload_part"
        " WHERE upload_id = $1 AND ordinal = $2",
        types=("uuid", "int", "int", "int"),
        args=(upload_id, ordinal, begin, length),
    )[0]["data"]


def finish(upload_id, size, digest):
    """Say that a file is whole."""
    boundary.write(
        "UPDATE hypercube.upload SET size = $2, digest = $3, touched_at = now() WHERE id = $1",
        types=("uuid", "bigint", "bytea"),
        args=(upload_id, size, digest),
    )


def files(name):
    """Return the uploads of a model, by path."""
    return boundary.rows(
        "SELECT id, path, owner, size, digest FROM hypercube.upload WHERE name = $1 ORDER BY path",
        types=("text",),
        args=(name,),
    )


def drop(name):
    """Remove the uploads of a model."""
    boundary.write(
        "DELETE FROM hypercube.upload_part AS p USING hypercube.upload AS u"
        " WHERE u.name = $1 AND p.upload_id = u.id",
        types=("text",),
        args=(name,),
    )
    boundary.write("DELETE FROM hypercube.upload WHERE name = $1", types=("text",), args=(name,))


def size(name, role):
    """Return the bytes of all parts of the uploads of a model that a role owns."""
    return boundary.rows(
        "SELECT coalesce(sum(octet_length(p.data)), 0)::bigint AS size FROM hypercube.upload AS u"
        " JOIN hypercube.upload_part AS p ON p.upload_id = u.id WHERE u.name = $1 AND u.owner = $2",
        types=("text", "name"),
        args=(name, role),
    )[0]["size"]
