"""One function for each PL/Python function of the extension about who may do what.

As in ``api``, what they need is imported inside.
"""

from hypercube.doors import door


@door
def grant_model(model, role):
    """Let a role see a model."""
    from hypercube import grants

    return grants.grant_model(model, role)


@door
def revoke_model(model, role):
    """Take back grant_model."""
    from hypercube import grants

    return grants.revoke_model(model, role)


@door
def give_model(model, role):
    """Make a role the owner of a model."""
    from hypercube import grants

    grants.give_model(model, role)


@door
def grant_document(document, role):
    """Let a role see a document."""
    from hypercube import grants

    return grants.grant_document(document, role)


@door
def revoke_document(document, role):
    """Take back grant_document."""
    from hypercube import grants

    return grants.revoke_document(document, role)


@door
def give_document(document, role):
    """Make a role the owner of a document."""
    from hypercube import grants

    grants.give_document(document, role)
