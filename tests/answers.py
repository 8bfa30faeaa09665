"""What a database answers about all that a role sees in it, to be compared with what a copy answers."""

import psycopg

# Words of three letters or more, in the order of the vocabulary, and so the same in every copy.
_WORDS = (
    "SELECT label FROM hypercube.token_overview WHERE model = %s AND kind = 'word' AND usable"
    " AND label ~ '^[[:alpha:]]{3,}$' ORDER BY token_id LIMIT 4"
)
_OF_A_MODEL = {
    "semantic_neighbors": "SELECT * FROM hypercube.semantic_neighbors(%(a)s::text, 10, %(model)s)",
    "variants excluded": (
        "SELECT * FROM hypercube.semantic_neighbors(%(b)s::text, 10, %(model)s, exclude_variants => true)"
    ),
    "embedding": "SELECT hypercube.embedding(%(a)s, %(model)s)",
    "nearest": "SELECT * FROM hypercube.nearest(hypercube.embedding(%(b)s, %(model)s), 10, %(model)s)",
    "most_similar": "SELECT * FROM hypercube.most_similar(ARRAY[%(a)s, %(b)s], ARRAY[%(c)s], 10, %(model)s)",
    "analogy": "SELECT * FROM hypercube.analogy(%(a)s, %(b)s, %(c)s, 10, %(model)s)",
    "similarity": "SELECT hypercube.similarity(%(a)s::text, %(b)s::text, %(model)s)",
    "rank_of": "SELECT hypercube.rank_of(%(a)s, %(d)s, %(model)s)",
    "odd_one_out": "SELECT hypercube.odd_one_out(ARRAY[%(a)s, %(b)s, %(c)s, %(d)s], %(model)s)",
    "spatial_neighbors": "SELECT * FROM hypercube.spatial_neighbors(%(c)s, 10, %(model)s)",
    "map": "SELECT * FROM hypercube.map WHERE model = %(model)s ORDER BY token_id LIMIT 100",
    "tokenize": "SELECT * FROM hypercube.tokenize(%(a)s || ' ' || %(b)s, %(model)s)",
    "embed": "SELECT hypercube.embed(%(a)s || ' ' || %(b)s, %(model)s)",
    "search": "SELECT * FROM hypercube.search(%(a)s, 10, %(model)s)",
    "documents by meaning": "SELECT * FROM hypercube.search(%(b)s, 10, %(model)s, 'document')",
    "search_text": "SELECT * FROM hypercube.search_text(%(a)s || ' or ' || %(b)s, 10)",
    "relations": (
        "SELECT count(*), min(weight), sum(source::bigint * target * rank) FROM hypercube.relation AS r"
        " JOIN hypercube.model AS m ON m.id = r.model_id WHERE m.name = %(model)s"
    ),
    "model_report": "SELECT * FROM hypercube.model_report(%(model)s)",
    "verify_model": "SELECT * FROM hypercube.verify_model(%(model)s)",
}
_OF_A_DOCUMENT = {
    "document_text": "SELECT hypercube.document_text(%(document)s)",
    "verify_document": "SELECT hypercube.verify_document(%(document)s)",
}
_OF_ALL = {
    "model_overview": "SELECT * FROM hypercube.model_overview ORDER BY model",
    "tensor_overview": "SELECT * FROM hypercube.tensor_overview ORDER BY model, tensor",
    "document_overview": "SELECT * FROM hypercube.document_overview ORDER BY document",
    "grant_overview": "SELECT * FROM hypercube.grant_overview AS g ORDER BY g::text",
    # This takes in what was refused before; the next tells of it.
    "audit_verify": "SELECT ok, first_bad, problem FROM hypercube.audit_verify()",
    # To verify is written down as well, and so never the same twice.
    "audit_log": "SELECT * FROM hypercube.audit_log WHERE operation <> 'verify' ORDER BY chain, id",
    "health": 'SELECT "check", ok FROM hypercube.health() ORDER BY "check"',
}


def answers(connection):
    """Return the rows of every question about every visible model and document, by what was asked.

    A refusal is an answer too: its SQLSTATE and message.  Nothing is left behind but what questions leave.
    """
    names = {
        kind: [name for (name,) in connection.execute(f"SELECT name FROM hypercube.{kind} ORDER BY name")]
        for kind in ("model", "document")
    }
    found = {question: _answer(connection, statement, {}) for question, statement in _OF_ALL.items()}
    for model in names["model"]:
        words = [word for (word,) in connection.execute(_WORDS, [model])]
        told = dict(zip("abcd", [*words, *["nothing"] * 4], strict=False)) | {"model": model}
        for question, statement in _OF_A_MODEL.items():
            found[f"{question} of {model}"] = _answer(connection, statement, told)
    for document in names["document"]:
        for question, statement in _OF_A_DOCUMENT.items():
            found[f"{question} of {document}"] = _answer(connection, statement, {"document": document})
    return found


def differences(found, expected):
    """Return the questions whose answers differ, or that only one of both was asked, in order."""
    return sorted(
        question
        for question in found.keys() | expected.keys()
        if found.get(question, ...) != expected.get(question, ...)
    )


def _answer(connection, statement, arguments):
    try:
        with connection.transaction():
            return connection.execute(statement, arguments).fetchall()
    except psycopg.DatabaseError as refusal:
        if refusal.sqlstate is None or isinstance(refusal, psycopg.errors.QueryCanceled):
            raise
        return [(refusal.sqlstate, refusal.diag.message_primary)]
