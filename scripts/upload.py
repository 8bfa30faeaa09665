"""Send a model to a server that has no file of it, in parts, and ingest it there.

Where the connection breaks, the same command begins again.
"""

import sys
from pathlib import Path

import psycopg
from blake3 import blake3

from hypercube.sources import SMALL_FILES

_PART = 4 << 20


def _show(done, total, path):
    filled = 24 * done // max(total, 1)
    bar = "#" * filled + "." * (24 - filled)
    print(f"\r[{bar}] {100 * done // max(total, 1):3d} %  {path:<40.40}", end="", file=sys.stderr, flush=True)


def send(db, folder, name):
    """Upload the weight files and the small files of a folder."""
    paths = [path for path in sorted(folder.glob("*.safetensors")) if path.is_file()]
    paths += [folder / small for small in SMALL_FILES if (folder / small).is_file()]
    db.execute("SELECT hypercube.upload_cancel(%s)", (name,))
    total, done = sum(path.stat().st_size for path in paths), 0
    for path in paths:
        relative = path.relative_to(folder).as_posix()
        upload = db.execute("SELECT hypercube.upload_begin(%s, %s)", (name, relative)).fetchone()[0]
        digest = blake3()
        with path.open("rb") as file:
            for ordinal, data in enumerate(iter(lambda: file.read(_PART), b"")):  # noqa: B023 - used at once
                digest.update(data)
                db.execute("SELECT hypercube.upload_part(%b, %b, %b)", (upload, ordinal, data))
                done += len(data)
                _show(done, total, relative)
        db.execute("SELECT hypercube.upload_finish(%s, %s)", (upload, digest.digest()))
    print(file=sys.stderr)


def main():
    """Upload and ingest, showing what the server says."""
    folder, name, dsn = Path(sys.argv[1]), sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else ""
    if not folder.is_dir():
        sys.exit(f"{folder} is no folder")
    with psycopg.connect(dsn, autocommit=True) as db:
        db.add_notice_handler(lambda notice: print(notice.message_primary, file=sys.stderr))
        send(db, folder, name)
        cursor = db.execute("SELECT * FROM hypercube.ingest_upload(%s)", (name,))
        for column, value in zip(cursor.description, cursor.fetchone(), strict=True):
            print(f"{column.name:22} {value}")


if __name__ == "__main__":
    main()
