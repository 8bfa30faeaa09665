"""Who sees a model or a document beside its owner, and who that is: decided by its owner."""

from hypercube import boundary, catalog, limits, rights, texts
from hypercube.errors import InvalidArgument, NotAllowed, UnknownDocument


def grant_model(name, role):
    """Let the members of a role see a model; return whether that is new."""
    model = _own_model(name)
    rights.require_role(role, everybody=True)
    return bool(boundary.as_owner(lambda: rights.grant_model(model, role)))


def revoke_model(name, role):
    """Take back grant_model; return whether there was such a grant."""
    model = _own_model(name)
    _require_name(role)
    return bool(boundary.as_owner(lambda: rights.revoke_model(model, role)))


def give_model(name, role):
    """Make a role the owner of a model."""
    model = _own_model(name)
    _require_heir(role)
    if role != model["owner"]:
        limits.require_gift("models", model["name"], role)
    boundary.as_owner(lambda: rights.give_model(model, role))


def grant_document(name, role):
    """Let the members of a role see a document; return whether that is new."""
    document = _own_document(name)
    rights.require_role(role, everybody=True)
    return bool(_as_seen_by_others(document, lambda: rights.grant_document(document, role)))


def revoke_document(name, role):
    """Take back grant_document; return whether there was such a grant."""
    document = _own_document(name)
    _require_name(role)
    return bool(_as_seen_by_others(document, lambda: rights.revoke_document(document, role)))


def give_document(name, role):
    """Make a role the owner of a document."""
    document = _own_document(name)
    _require_heir(role)
    if role != document["owner"]:
        limits.require_gift("documents", document["name"], role)
    _as_seen_by_others(document, lambda: rights.give_document(document, role))


def _own_model(name):
    if name is None:
        raise InvalidArgument("the model must be named", hint="SELECT name FROM hypercube.model.")
    model = catalog.find_model(name)
    rights.require_owner(model)
    return model


def _own_document(name):
    if name is None:
        raise InvalidArgument("the document must be named", hint="SELECT name FROM hypercube.document.")
    found = texts.documents([name])
    if not found:
        raise UnknownDocument(name)
    rights.require_owner(found[0], "document")
    return found[0]


def _require_name(role):
    if role is None:
        raise InvalidArgument(
            "the role must not be null", hint="SELECT grantee FROM hypercube.grant_overview."
        )


def _require_heir(role):
    """Nobody is given what he did not ask for: limits count what a role owns."""
    rights.require_role(role)
    caller = boundary.caller()
    if not rights.is_member(caller, role) and not rights.is_member(caller, rights.ADMIN):
        raise NotAllowed(
            f'role "{caller}" is no member of role "{role}"',
            hint=f"Whoever is a member of both can do it, or a member of {rights.ADMIN}.",
        )


def _as_seen_by_others(document, change):
    def changed():
        answer = change()
        if document["model_id"] is not None:
            rights.touch_readers([document["model_id"]])
        return answer

    return boundary.as_owner(changed)
