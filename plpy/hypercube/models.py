"""Models as a whole: which folders they come from, and how they go."""

from hypercube import boundary, catalog, sources
from hypercube.errors import InvalidArgument, NotAllowed


def _require_file_reader():
    role = boundary.caller()
    if not catalog.is_member(role, "pg_read_server_files"):
        raise NotAllowed(
            f'role "{role}" may not decide which folders of the server are read',
            hint="A superuser can call it, or GRANT pg_read_server_files.",
        )
    return role


def allow_source(path):
    """Allow a folder and return it with symbolic links resolved."""
    role = _require_file_reader()
    folder = sources.folder_to_allow(path)
    catalog.add_allowed_source(folder, role)
    return folder


def disallow_source(path):
    """Return whether the folder was allowed; it no longer is."""
    _require_file_reader()
    if path is None:
        raise InvalidArgument(
            "the folder must not be null", hint="SELECT path FROM hypercube.allowed_source."
        )
    return bool(catalog.remove_allowed_source(path) or catalog.remove_allowed_source(sources.resolve(path)))


def drop_model(name):
    """Remove a model for its owner; return the row of hypercube.drop_report."""
    if name is None:
        raise InvalidArgument("the model must be named", hint="SELECT name FROM hypercube.model.")
    catalog.lock_writers()
    model = catalog.find_model(name)
    role = boundary.caller()
    if not catalog.is_member(role, model["owner"]):
        raise NotAllowed(
            f'role "{role}" does not own model "{name}"', hint=f"Its owner {model['owner']} can drop it."
        )
    report = {"model": model["name"], **catalog.drop_model(model["id"])}
    catalog.analyze()
    return report
