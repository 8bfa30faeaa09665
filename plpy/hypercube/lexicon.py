"""Statements that ask for the vocabulary of a model."""

from hypercube import boundary


def find_tokens(model_id, words):
    """Return the token id of each word that is one token, None for the others, in order."""
    return boundary.rows(
        "SELECT array_agg(coalesce(same.token_id, hypercube._find_token($1, word)) ORDER BY place) AS ids"
        " FROM unnest($2) WITH ORDINALITY AS asked (word, place)"
        " LEFT JOIN LATERAL hypercube._same_word($1, word) AS same ON true",
        types=("int", "text[]"),
        args=(model_id, words),
    )[0]["ids"]


def find_same(model_id, word):
    """Return the token that has just this label and begins a word, or None."""
    found = boundary.rows(
        "SELECT token_id FROM hypercube._same_word($1, $2)", types=("int", "text"), args=(model_id, word)
    )
    return found[0]["token_id"] if found else None


def models_with(word):
    """Return how many models with stored neighbours have a word, however it is spelled."""
    return boundary.rows(
        "SELECT count(DISTINCT t.model_id) AS n FROM hypercube.token AS t"
        " JOIN hypercube.model AS m ON m.id = t.model_id AND m.neighbors > 0"
        # As the question: what is the lower case of a letter is for the server to say.
        " WHERE t.folded = lower(coalesce(nullif(ltrim(btrim($1), '▁Ġ'), ''), $1))"
        " AND t.kind = 'word' AND t.usable",
        types=("text",),
        args=(word,),
    )[0]["n"]


def languages():
    """Return the languages of the documents."""
    found = boundary.rows("SELECT DISTINCT language FROM hypercube.document ORDER BY 1")
    return [row["language"] for row in found]


def labels(model_id, token_ids):
    """Return the labels of tokens, in the order of their ids in the list."""
    return (
        boundary.rows(
            "SELECT array_agg(t.label ORDER BY place) AS labels"
            " FROM unnest($2) WITH ORDINALITY AS wanted (token_id, place)"
            " JOIN hypercube.token AS t ON t.model_id = $1 AND t.token_id = wanted.token_id",
            types=("int", "int[]"),
            args=(model_id, token_ids),
        )[0]["labels"]
        or []
    )


def qualifying(model_id, label_like, kinds):
    """Return the ids of the usable tokens whose label and kind fit, big-endian int32, and their labels."""
    found = boundary.rows(
        "SELECT string_agg(int4send(token_id), '' ORDER BY token_id) AS ids,"
        " array_agg(label ORDER BY token_id) AS labels FROM hypercube.token"
        " WHERE model_id = $1 AND usable AND ($2 IS NULL OR label LIKE $2)"
        " AND ($3 IS NULL OR kind = ANY ($3::hypercube.token_kind[]))",
        types=("int", "text", "text[]"),
        args=(model_id, label_like, kinds),
    )[0]
    return found["ids"] or b"", found["labels"] or []


def unusable_tokens(model_id):
    """Return the ids of the tokens that no answer may hold."""
    found = boundary.rows(
        "SELECT token_id FROM hypercube.token WHERE model_id = $1 AND NOT usable ORDER BY token_id",
        types=("int",),
        args=(model_id,),
    )
    return [row["token_id"] for row in found]


def token_labels(model_id):
    """Return a dict of token id to label of a vocabulary."""
    found = boundary.rows(
        "SELECT array_agg(token_id) AS ids, array_agg(label) AS labels FROM hypercube.token"
        " WHERE model_id = $1 AND label IS NOT NULL",
        types=("int",),
        args=(model_id,),
    )[0]
    return dict(zip(found["ids"] or [], found["labels"] or [], strict=True))


def vocabulary_order(model_id):
    """Return the rows of an embedding, the usable tokens that are text, and which are one character long.

    The tokens are int32, by token id, the last a bool ndarray of the same length.
    """
    import numpy as np

    found = boundary.rows(
        "SELECT m.vocabulary_size AS size, string_agg(int4send(t.token_id), '' ORDER BY t.token_id) AS ids,"
        " string_agg(CASE WHEN length(t.label) = 1 THEN '1' ELSE '0' END, '' ORDER BY t.token_id) AS single"
        " FROM hypercube.model AS m LEFT JOIN hypercube.token AS t"
        "  ON t.model_id = m.id AND t.usable AND t.kind IN ('word', 'continuation', 'byte')"
        " WHERE m.id = $1 GROUP BY m.vocabulary_size",
        types=("int",),
        args=(model_id,),
    )[0]
    ids = np.frombuffer(found["ids"] or b"", ">i4").astype(np.int64)
    return found["size"], ids, np.array([one == "1" for one in found["single"] or ""], bool)
