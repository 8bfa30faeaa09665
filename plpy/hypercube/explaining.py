"""Which way a question goes: decided as the question decides it, without asking it."""

import os

from hypercube import (
    allowances,
    boundary,
    catalog,
    embeddings,
    expected,
    hnsw,
    lexicon,
    limits,
    mapped,
    meaning,
    ranking,
    rights,
    search,
    tokens,
    upkeep,
    words,
)
from hypercube.errors import InvalidArgument, StepMissing, UnknownToken, quoted

# How many words a question takes: so many, any number, or a text.
_ANY, _TEXT = -1, -2
_QUESTIONS = {
    "semantic_neighbors": 1, "spatial_neighbors": 1, "consensus_neighbors": 1, "embedding": 1, "nearest": 0,
    "analogy": 3, "most_similar": _ANY, "midpoint": 2, "similarity": 2, "tokenize": _TEXT, "embed": _TEXT,
    "search": _TEXT, "search_text": _TEXT, "hybrid_search": _TEXT, "ask": _TEXT,
}  # fmt: skip
_K = {"ask": 5}
# Small, or looked up by their keys alone: no plan depends on what is known of them.
_WITHOUT_STATISTICS = {"role_limit", "model", "model_file", "document"}
# What of a query by words is nothing.
_BLANK = " "
# The rank of a stored neighbour is an int2: more are never stored.
_FAST_K = 1000


def explain(question, query, several, name, ask, scope):
    """Return (step, path, reads, rows, bytes, missing) rows about a question.

    Parameters
    ----------
    question : str
        The name of the function.
    query, several : str or None, list or None
        Its word or text, or its words.
    name : str or None
        The model.
    ask : ranking.Ask
        k None stands for the default of the question.
    scope : str
        Of a search.
    """
    if question not in _QUESTIONS:
        raise InvalidArgument(
            "the question must not be null" if question is None else f'question "{question}" is not known',
            hint=f"Name one of {', '.join(_QUESTIONS)}.",
        )
    asked = _asked(question, query, several)
    told = _Told()
    ask = ask._replace(k=ask.k if ask.k is not None else _K.get(question, 10))
    if question == "consensus_neighbors":
        ranking.check_ask(ask, catalog.limits())
        _consensus(told, asked[0])
    elif question == "search_text":
        search.check_query(asked[0], _BLANK)
        ranking.check_ask(ask, catalog.limits())
        search.check_scope(scope)
        told.limits(python=False)
        _by_words(told, scope)
    elif _QUESTIONS[question] == _TEXT:
        _text(told, question, asked[0], name, ask, scope)
    else:
        _words(told, question, asked, name, ask)
    return told.finished()


def _asked(question, query, several):
    asked = several if several is not None else [] if query is None else [query]
    count = _QUESTIONS[question]
    if count == _TEXT:
        if len(asked) != 1 or not isinstance(asked[0], str):
            raise InvalidArgument(f"{question} needs a text", hint="Give it as query => '...'.")
        return asked
    words.check_words(asked)
    if len(asked) != count and not (count == _ANY and asked):
        raise InvalidArgument(
            f"{question} needs {'words' if count == _ANY else count}, {len(asked)} are given",
            hint="Give one word as query => '...', several as words => ARRAY['...', '...'].",
        )
    return asked


class _Told:
    """The rows, in the order in which things happen, and what they have in common."""

    def __init__(self):
        self._rows = []
        self._tables = set()
        self._python = None
        # Files and statistics are made by what others do, too: they are for who looks after all of it.
        self.of_admin = rights.is_member(boundary.caller(), rights.ADMIN)

    def add(self, step, path, reads=(), rows=None, size=None, missing=None):
        """Add a step; `reads` are tables, indexes and files."""
        tables = [reads] if isinstance(reads, str) else list(reads)
        self._tables |= set(tables) - _WITHOUT_STATISTICS
        self._rows.append((step, path, ", ".join(tables) or None, rows, size, missing))

    def model(self, model, name):
        """Add which model is meant, and why."""
        set_to = boundary.rows("SELECT nullif(current_setting('hypercube.model', true), '') AS name")[0][
            "name"
        ]
        why = (
            "as named" if name is not None else "by the setting hypercube.model" if set_to else "the only one"
        )
        self.add("model", f'"{model["name"]}", {why}', "model", 1)

    def limits(self, python):
        """Add what is counted; whether Python is started where nothing is."""
        charged = None
        if allowances.are_set("questions"):
            charged = allowances.find(boundary.calling_user(), "questions")
        self._python = python or charged is not None
        if charged is None:
            self.add("limits", "no limit of questions concerns the caller: nothing is counted", "role_limit")
            return
        left = charged["value"] - limits.used("questions")
        self.add(
            "limits", f"counts as 1 question, {left} of {charged['value']} a minute are left", "role_limit",
            missing=None if left >= 1 else f"a member of {'hypercube_admin'} can raise the limit, or wait",
        )  # fmt: skip

    def python(self):
        """Say that the answer takes Python."""
        self._python = True

    def finished(self):
        """Return all rows; what is true of the whole question comes last."""
        old = []
        if self.of_admin:
            old = boundary.read_as_owner(lambda: upkeep.never_analyzed(sorted(self._tables)))
        if old:
            self.add(
                "statistics", "none of a table that is read: plans are guesses", (), len(old),
                missing="ANALYZE " + ", ".join(f"hypercube.{name}" for name in old),
            )  # fmt: skip
        self.add("python", "is started" if self._python else "is not started")
        return self._rows


def _words(told, question, asked, name, ask):
    scanning = question in ("nearest", "analogy", "most_similar", "midpoint")
    find = (
        catalog.find_model
        if question in ("semantic_neighbors", "spatial_neighbors")
        else embeddings.find_model
    )
    model = find(name, asked)
    if question not in ("embedding", "similarity"):
        ranking.check_ask(ask, model)
    told.model(model, name)
    told.limits(python=question not in ("semantic_neighbors", "spatial_neighbors"))
    if question == "spatial_neighbors":
        _map(told, model, asked[0], ask.k)
    elif question == "semantic_neighbors":
        _neighbors(told, model, asked[0], ask)
    else:
        spelled = _spelled(told, model, asked) if asked else []
        if scanning:
            _scan(told, model, ask)
        else:
            _vectors(told, model, sum(map(len, spelled)))


def _spelled(told, model, asked):
    """Add which tokens words are; return their ids."""
    spelled = words.find_words(model, asked)
    several = [word for word, ids in zip(asked, spelled, strict=True) if len(ids) > 1]
    if several:
        count = len(several)
        told.python()
        told.add(
            "words", f"{count} of {len(asked)} cut into tokens; the mean of their vectors counts",
            ["token_label_index", "model_file"], sum(map(len, spelled)),
        )  # fmt: skip
    else:
        told.add("words", "each is a token, found by its label", "token_label_index", len(asked))
    return spelled


def _neighbors(told, model, word, ask):
    """Which of its three ways semantic_neighbors goes."""
    token_id = model["token_ids"][0]
    filtered = ask.label_like is not None or ask.kinds is not None or ask.letters_only or ask.exclude_variants
    reason = None
    if token_id is None:
        reason = "the word is no token"
    elif filtered:
        reason = "a filter is given"
    elif ask.approximate:
        reason = "approximate is asked for"
    elif ask.k > model["neighbors"]:
        reason = f"{ask.k} are asked for, {model['neighbors']} are stored"
    elif not expected.stored_neighbors(model["id"], token_id, 1)[0]:
        reason = "the token has no stored neighbours"
    if reason is not None:
        told.python()
        # As the question: only here does it need more than stored rows.
        model = embeddings.find_model(model["name"], [word])
        _spelled(told, model, [word])
        _scan(told, model, ask, reason)
        return
    same = lexicon.find_same(model["id"], word) is not None
    plain = ask.minimum_score is None and ask.k <= _FAST_K and model["max_k"] is None
    if same and plain:
        path = (
            "one statement for word and neighbours; who sees the model is asked once, by the view _word_edge"
        )
    else:
        path = "the token first, then its stored neighbours, each row under row-level security"
    told.add("words", "a token, found by its label", "token_label_index", 1)
    told.add("answer", "stored neighbours: " + path, ["relation_pkey", "token_pkey"], ask.k)


def _map(told, model, word, k):
    if model["token_ids"][0] is None:
        raise UnknownToken([word], model["name"])
    told.add("words", "a token, found by its label", "token_label_index", 1)
    if not expected.map_neighbors(model["id"], model["token_ids"][0], 1)[0]:
        raise StepMissing(
            f'token {model["token_ids"][0]} of model "{model["name"]}" has no neighbour on a map',
            hint="SELECT notes FROM hypercube.model_report('...') says what was projected, and why not.",
        )
    told.add("answer", "points in order of their distance", ["projection_point_index", "token_pkey"], k)


def _consensus(told, word):
    found = lexicon.models_with(word)
    if not found:
        raise UnknownToken([word], "any")
    told.limits(python=False)
    told.add("words", f"a word of {found} models in lower case", "token_folded_index", found)
    told.add("answer", "stored neighbours in each of them, ranks fused", ["relation_pkey", "token_pkey"])


def _file(told, path, size, made):
    """Return what is missing of a file, as far as it is told, and its name; `made` says what makes it."""
    missing = None
    if told.of_admin and not (os.path.isfile(path) and os.path.getsize(path) == size):
        missing = f"the file: {made}"
        if size > mapped.limit():
            missing = f"room for it: SET hypercube.matrix_limit = '{-(-size >> 20)}'"
    return missing, os.path.join(*path.split(os.sep)[-3 if told.of_admin else -1 :])


def _scan(told, model, ask, reason=None):
    n, size = model["vocabulary_size"], 4 * model["vocabulary_size"] * model["dimension"]
    made = f"the first exact question makes it, or SELECT hypercube.warm({quoted(model['name'])})"
    missing, shown = _file(told, embeddings.path(model), size, made)
    why = f" ({reason})" if reason else ""
    if ask.approximate:
        index = hnsw.require_index(model)
        reach = max(hnsw.reach(), min(ask.k, hnsw.REACH))
        table = f"vector_of_{index.model_id}"
        told.add("answer", f"vector index with hnsw.ef_search {reach}{why}", [f"{table}_index", table], reach)
        told.add("scores", "computed again for what the index finds", [shown], reach, None, missing)
        return
    told.add("answer", f"exact scan of every row of the matrix{why}", [shown], n, size, missing)


def _vectors(told, model, count):
    from hypercube import weights

    size = count * model["dimension"] * weights.BITS[model["dtype"]] // 8
    told.add(
        "answer", "rows of the embedding, out of its chunks", ["tensor_chunk_pkey", "chunk_pkey"], count, size
    )


def _text(told, question, text, name, ask, scope):
    if question in ("tokenize", "embed"):
        tokens.require_short(text)
    else:
        search.check_query(text, None if question == "search" else _BLANK)
    if question == "tokenize":
        model = catalog.find_model(name)
        tokens.require_vocabulary(model)
        told.model(model, name)
        told.limits(python=True)
        told.add("answer", "the tokenizer of the model, loaded once a session", "model_file")
        return
    model, method = meaning.find_model(name)
    if question != "embed":
        ranking.check_k(ask.k, model)
        search.check_scope(scope)
    told.model(model, name)
    told.limits(python=True)
    if question == "embed":
        _embedding(told, model, method)
    else:
        _by_meaning(told, question, text, model, method)
    if question in ("hybrid_search", "ask"):
        _by_words(told)


def _embedding(told, model, method):
    tokens.require_vocabulary(model)
    if method == "sif":
        told.add(
            "text",
            "weighted mean of the vectors of its tokens",
            ["model_file", "tensor_chunk_pkey", "chunk_pkey"],
        )
        return
    described = meaning.describe(model)
    size = 4 * described.size
    missing, shown = _file(told, meaning.path(model), size, "the first text that is embedded makes it")
    told.add("text", "the sentence encoder that the model is", ["model_file", shown], None, size, missing)


def _by_meaning(told, question, text, model, method):
    path, count, size, complete = search.library(model, method)
    without = f"vectors of some sentences: SELECT hypercube.embed_documents({quoted(model['name'])})"
    without = None if complete else without
    if not count:
        if question == "search":
            raise search.nothing_to_find(model)
        told.add(
            "by meaning", "no sentence that the caller sees has a vector: found is what has the words",
            ["document", "sentence"], 0, 0, without,
        )  # fmt: skip
        return
    search.check_query(text)
    _embedding(told, model, method)
    missing, shown = _file(told, path, size, "the first search after vectors came or went makes it")
    told.add(
        "by meaning", "exact scan of the vectors of all sentences that the caller sees",
        ["document", "sentence", shown], count, size, "; ".join(filter(None, (missing, without))) or None,
    )  # fmt: skip


def _by_words(told, scope="sentence"):
    languages = lexicon.languages()
    reads = ["document_words_index", "document"]
    if scope == "sentence":
        reads = ["sentence_search_words_index", "sentence_search", "sentence", "document"]
    told.add(
        "by words", f"full-text index, or the table where that is smaller; languages: {', '.join(languages)}",
        reads, missing=None if languages else "documents: SELECT hypercube.ingest_text(...)",
    )  # fmt: skip
