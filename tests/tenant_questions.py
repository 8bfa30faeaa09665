"""Random questions to every public function and view, for answers that are compared.

A question is a statement and its arguments; what it is asked of is named as `catalogue` names it.
"""

import random

from blake3 import blake3

from small_models import vectors
from worlds import GRANTEES, SENTENCES, UPLOADS, WORDS

# Of functions with one name, the arguments without a default tell which is meant.
_FUNCTIONS = (
    "SELECT p.proname || '(' || array_to_string(ARRAY("
    "  SELECT format_type(t, NULL) FROM unnest(p.proargtypes) WITH ORDINALITY AS a (t, place)"
    "  WHERE place <= p.pronargs - p.pronargdefaults ORDER BY place), ', ') || ')'"
    " FROM pg_proc AS p WHERE p.pronamespace = 'hypercube'::regnamespace AND p.proname !~ '^_'"
)
_VIEWS = (
    "SELECT relname FROM pg_class WHERE relnamespace = 'hypercube'::regnamespace AND relkind IN ('v', 'm')"
)


def catalogue(db):
    """Return the names of all public functions, and of all views and materialized views."""
    return {name for (name,) in db.execute(_FUNCTIONS)}, {name for (name,) in db.execute(_VIEWS)}


def writers(db):
    """Return the names of those of the functions that are VOLATILE."""
    return {name for (name,) in db.execute(_FUNCTIONS + " AND p.provolatile = 'v'")}


class First(random.Random):
    """Draws the first of everything, and so what is seen, and is there."""

    def random(self):
        return 0.0


class Ask:
    """Draws arguments, more often of what is seen than of what is hidden or not there.

    `drawing` is a random.Random, `rows` are all there are, `seen` those that the asking role sees, `mine` the
    roles that it is a member of.
    """

    def __init__(self, drawing, rows, seen, mine, sources):
        self.random = drawing
        self._all, self._seen, self._mine, self._sources = rows, seen, mine, sources

    def _one(self, table, column, other):
        drawn = self.random.random()
        rows = self._seen[table] if drawn < 0.8 else self._all[table]
        return self.random.choice(rows)[column] if rows and drawn < 0.95 else other

    def _own(self, table, other):
        rows = [row for row in self._seen[table] if row["owner"] in self._mine]
        return self.random.choice(rows)["name"] if rows and self.random.random() < 0.8 else other()

    def model(self):
        return None if self.random.random() > 0.85 else self.named_model()

    def named_model(self):
        return self._one("model", "name", "no such model")

    def own_model(self):
        return self._own("model", self.named_model)

    def own_document(self):
        return self._own("document", self.document)

    def model_id(self):
        return self._one("model", "id", 12345)

    def document(self):
        return self._one("document", "name", "no such document")

    def composition(self):
        table = self.random.choice(["composition", "composition", "composition", "atom"])
        return self._one(table, "id", b"\x01" * 32)

    def kept(self):
        return self._one("kept_composition", "composition_id", b"\x01" * 32)

    def label(self):
        return self._one("composition", "label", "no such label")

    def upload(self):
        return self._one("upload", "id", "00000000-0000-0000-0000-000000000001")

    def word(self):
        return self.random.choice([*WORDS[:20], *WORDS[:20], "waabaa", "Waab", "waabaaab", "nonsense!", "zz"])

    def frequent_word(self):
        return self.random.choice(["waab", "waab", "waac", "waae"])

    def words(self):
        return [self.word() for _ in range(4)]

    def text(self):
        found = self.random.sample(SENTENCES, self.random.randint(1, 3))
        return "".join(self.random.choice([one, one, one.replace("waa", "new")]) for one in found)

    def either(self):
        """Words for a full-text query."""
        return f"{self.word()} or {self.word()}"

    def k(self):
        return self.random.choice([1, 3, 5, 8, 20, 0])

    def few(self):
        return self.random.choice([1, 1, 2])

    def vector(self):
        return vectors(1, seed=self.random.randrange(1000))[0].tolist()

    def scope(self):
        return self.random.choice(["sentence", "document"])

    def role(self):
        return self.random.choice([*GRANTEES, "no such role"])

    def heir(self):
        return self.random.choice([*sorted(self._mine), self.role()])

    def folder(self):
        return str(
            self._sources / self.random.choice(["alike", "twin", "other", "part", "merged", "missing"])
        )

    def target(self):
        return str(self._sources / self.random.choice(["part", "part", "twin", "other"]) / "exported")

    def options(self, *kinds):
        """Return some of the named arguments that ranked answers take."""
        return "".join(f", {kind}" for kind in kinds if self.random.random() > 0.8)


def _asked(statement, *arguments):
    """Return a maker of one question: functions draw their argument with an Ask, others are one."""

    def make(ask):
        return [(statement, [one(ask) if callable(one) else one for one in arguments])]

    return make


def _of(call, *arguments):
    return _asked(f"SELECT * FROM hypercube.{call}", *arguments)


def _ranked(name, arguments, *options, cast=""):
    """The same for a ranked answer, whose arguments end with k, the model and some options."""

    def make(ask):
        places = f"%s{cast}, " * len(arguments)
        call = f"{name}({places}%s, %s{ask.options(*options)})"
        return _of(call, *arguments, Ask.k, Ask.model)(ask)

    return make


def _after(*makers):
    """Return a maker of the questions of several, one after the other."""
    return lambda ask: [question for make in makers for question in make(ask)]


_SOME = (
    "label_like => 'waa%%'", "kinds => '{word,continuation}'", "letters_only => true", "minimum_score => 0.2",
)  # fmt: skip
_MORE = (*_SOME, "exclude_variants => true")
_TEST = ": one\n" + "\n".join(" ".join(WORDS[at : at + 4]) for at in range(0, 16, 2))
_PAIRS = "\n".join(f"{WORDS[at]}\t{WORDS[at + 1]}\t{at}.5" for at in range(0, 12, 2))
_BYTES = vectors(3, seed=5).tobytes()
_INDEX = bytes.fromhex("00112233445566778899aabbccddeeff")

QUESTIONS = {
    "token_id(text)": _of("token_id(%s, %s)", Ask.word, Ask.model),
    "health()": _after(_of("health()"), _of("health(true)")),
    "explain_question(text)": _after(
        _of("explain_question('semantic_neighbors', %s, k => %s, model => %s)", Ask.word, Ask.k, Ask.model),
        _of("explain_question('consensus_neighbors', %s)", Ask.word),
        _of("explain_question('similarity', words => ARRAY[%s, %s])", Ask.word, Ask.word),
        _of("explain_question('spatial_neighbors', %s, model => %s)", Ask.word, Ask.model),
        _of("explain_question('ask', %s, model => %s, scope => %s)", Ask.text, Ask.model, Ask.scope),
    ),
    "model_report()": _of("model_report(%s)", Ask.model),
    "semantic_neighbors(text)": _ranked("semantic_neighbors", [Ask.word], *_MORE),
    "semantic_neighbors(bytea)": _ranked("semantic_neighbors", [Ask.composition], *_MORE),
    "consensus_neighbors(text)": _of("consensus_neighbors(%s, %s)", Ask.word, Ask.k),
    "nearest(real[])": _ranked("nearest", [Ask.vector], *_SOME, cast="::real[]"),
    "most_similar(text[])": _ranked("most_similar", [Ask.words, [WORDS[40]]], *_MORE),
    "analogy(text, text, text)": _ranked("analogy", [Ask.word] * 3, *_MORE),
    "midpoint(text, text)": _ranked("midpoint", [Ask.word] * 2, *_MORE),
    "closer_than(text, text)": _ranked("closer_than", [Ask.word] * 2, *_MORE),
    "similarity(text, text)": _of("similarity(%s::text, %s, %s)", Ask.word, Ask.word, Ask.model),
    "similarity(text[], text[])": _of("similarity(%s::text[], %s, %s)", Ask.words, Ask.words, Ask.model),
    "similarity(real[], real[])": _of("similarity(%s::real[], %s::real[])", Ask.vector, Ask.vector),
    "rank_of(text, text)": _of("rank_of(%s, %s, %s)", Ask.word, Ask.word, Ask.model),
    "odd_one_out(text[])": _of("odd_one_out(%s, %s)", Ask.words, Ask.model),
    "rank_by_centrality(text[])": _of("rank_by_centrality(%s, %s)", Ask.words, Ask.model),
    "centroid(text[])": _of("centroid(%s::text[], %s)", Ask.words, Ask.model),
    "embedding(text)": _of("embedding(%s, %s)", Ask.word, Ask.model),
    "warm()": _of("warm(%s)", Ask.model),
    "add(real[], real[])": _of("add(%s::real[], %s::real[])", Ask.vector, Ask.vector),
    "subtract(real[], real[])": _of("subtract(%s::real[], %s::real[])", Ask.vector, Ask.vector),
    "scale(real[], double precision)": _of("scale(%s::real[], 0.3)", Ask.vector),
    "normalise(real[])": _of("normalise(%s::real[])", Ask.vector),
    "analogies(text[])": _of(
        "analogies(%s::text[], %s, %s, skip_unknown => true)",
        lambda ask: [ask.words()[:3] for _ in range(4)], Ask.few, Ask.model,
    ),
    "nearest_batch(real[])": _of(
        "nearest_batch(ARRAY[%s, %s]::real[], 3, %s)", Ask.vector, Ask.vector, Ask.model
    ),
    "nearest_batch(bytea)": _of("nearest_batch(%s::bytea, %s, %s)", _BYTES, Ask.k, Ask.model),
    "neighbor_join(text, text)": _of("neighbor_join(%s, %s, %s)", Ask.named_model, Ask.named_model, Ask.few),
    "evaluate_analogies(text)": _of("evaluate_analogies(%s::text, %s)", _TEST, Ask.model),
    "evaluate_analogies(text[])": _of("evaluate_analogies(ARRAY[%s], %s)", _TEST, Ask.model),
    "evaluate_similarity(text)": _of("evaluate_similarity(%s::text, %s)", _PAIRS, Ask.model),
    "evaluate_similarity(text[])": _of("evaluate_similarity(ARRAY[%s], %s, true)", _PAIRS, Ask.model),
    "spatial_neighbors(text)": _ranked("spatial_neighbors", [Ask.word]),
    "map_svg()": _of("map_svg(%s, %s)", Ask.model, Ask.words),
    "atom_map_version()": _of("atom_map_version()"),
    "hilbert_index(cube)": _of("hilbert_index('(0.1, 0.2, 0.3, 0.4)')"),
    "hilbert_point(bytea)": _of("hilbert_point(%s)", _INDEX),
    "hilbert_range(cube)": _of("hilbert_range('(-1, -1, -1, -1), (0, 0, 0, 0)', 4)"),
    "composition_id(text)": _of("composition_id(%s)", Ask.text),
    "composition_text(bytea)": _of("composition_text(%s)", Ask.composition),
    "composition_bytes(bytea)": _of("composition_bytes(%s)", Ask.composition),
    "find_composition(text)": _of("find_composition(%s)", Ask.label),
    "children(bytea)": _of("children(%s)", Ask.composition),
    "parents(bytea)": _of("parents(%s)", Ask.composition),
    "depth(bytea)": _of("depth(%s)", Ask.composition),
    "centroid(bytea)": _of("centroid(%s::bytea)", Ask.composition),
    "distance(bytea, bytea)": _of("distance(%s, %s)", Ask.composition, Ask.composition),
    "contains(bytea, bytea)": _of("contains(%s, %s)", Ask.composition, Ask.composition),
    "orthographic_neighbors(text)": _of("orthographic_neighbors(%s, %s)", Ask.word, Ask.k),
    "document_text(text)": _of("document_text(%s)", Ask.document),
    "document_bytes(text)": _of("document_bytes(%s)", Ask.document),
    "verify_document(text)": _of("verify_document(%s)", Ask.document),
    "verify_model()": _of("verify_model(%s)", Ask.model),
    "model_diff(text, text)": _of("model_diff(%s, %s)", Ask.named_model, Ask.named_model),
    "tokenize(text)": _of("tokenize(%s, %s)", Ask.text, Ask.model),
    "count_tokens(text)": _of("count_tokens(%s, %s)", Ask.text, Ask.model),
    "detokenize(integer[])": _of("detokenize('{1,3,2}', %s)", Ask.model),
    "continuations(text)": _ranked("continuations", [Ask.frequent_word]),
    "cooccurs(text, text)": _of("cooccurs(%s, %s, %s)", Ask.frequent_word, Ask.frequent_word, Ask.model),
    "embed(text)": _of("embed(%s, %s)", Ask.text, Ask.model),
    "search(text)": _of("search(%s, %s, %s, %s)", Ask.text, Ask.k, Ask.model, Ask.scope),
    "search_text(text)": _of("search_text(%s, %s, %s)", Ask.either, Ask.k, Ask.scope),
    "hybrid_search(text)": _ranked("hybrid_search", [Ask.either]),
    "ask(text)": _ranked("ask", [Ask.text]),
}  # fmt: skip

# What the others call, asked without them.
PRIVATE = {
    "_find_token": _of("_find_token(%s, %s)", Ask.model_id, Ask.word),
    "_same_word": _of("_same_word(%s, %s)", Ask.model_id, Ask.word),
    "_stored_neighbors": _of("_stored_neighbors(%s, 'any', %s, 5)", Ask.model_id, Ask.few),
    "_map_neighbors": _of("_map_neighbors(%s, 'any', %s, 5)", Ask.model_id, Ask.few),
    "_matching": _of("_matching(%s, 9, %s, true)", Ask.text, Ask.scope),
    "_model_health": _of("_model_health(%s, 'rows')", Ask.named_model),
    "_documents_health": _of("_documents_health()"),
    "_search_if_possible": _of("_search_if_possible(%s, 9, %s)", Ask.text, Ask.model),
}

# Nobody who asks here may do it, whatever there is: the answer is the refusal.  The consensus, maintenance,
# limits and the atoms are for admins, the audit is for auditors, folders are for who may read files anyway,
# and vector indexes need another extension.
REFUSED = {
    "maintain()": _of("maintain()"),
    "seed_atoms()": _of("seed_atoms()"),
    "refresh_consensus()": _of("refresh_consensus()"),
    "relation_consensus": _of("relation_consensus"),
    "allow_source(text)": _of("allow_source(%s)", Ask.folder),
    "allow_target(text)": _of("allow_target(%s)", Ask.folder),
    "disallow_source(text)": _of("disallow_source(%s)", Ask.folder),
    "disallow_target(text)": _of("disallow_target(%s)", Ask.folder),
    "create_vector_index(text)": _of("create_vector_index(%s)", Ask.own_model),
    "measure_recall(text)": _of("measure_recall(%s)", Ask.own_model),
    "set_limit(name, text, bigint)": _of("set_limit(%s, 'k', 3)", Ask.role),
    "unset_limit(name, text)": _of("unset_limit(%s, 'k')", Ask.role),
    "metrics()": _of("metrics()"),
    "metrics_text()": _of("metrics_text()"),
    "record_backup(text, text, timestamp with time zone, timestamp with time zone, bigint)": _of(
        "record_backup('a', 'full', 'yesterday', 'today', 1)"
    ),
    "audit_log": _of("audit_log"),
    "audit_collect()": _of("audit_collect()"),
    "audit_verify()": _of("audit_verify()"),
    "audit_checkpoint()": _of("audit_checkpoint()"),
    "audit_seal()": _of("audit_seal()"),
    "audit_drop_segment(integer)": _of("audit_drop_segment(1)"),
}

_HEADER = b'{"w":{"dtype":"F32","shape":[60,16],"data_offsets":[0,3840]}}'
_FILE = len(_HEADER).to_bytes(8, "little") + _HEADER + vectors(60).tobytes()
_ID = "(SELECT id FROM hypercube.upload WHERE name = 'brought')"
_SEARCH = _of("search(%s, 20, %s)", Ask.text, Ask.model)


def _stored(call, *arguments):
    """Return a maker that asks, stores texts, and asks again: a session sees at once what it stored."""

    def make(ask):
        model, query = ask.model(), ask.text()
        search = _of("search(%s, 20, %s)", query, model)(ask)
        return [
            *search,
            *_of(call, model, *arguments)(ask),
            *search,
            *_of("ask(%s, 9, %s)", query, model)(ask),
        ]

    return make


def _dropped(ask):
    search = _SEARCH(ask)
    return [*search, *_of("drop_document(%s)", Ask.own_document)(ask), *search]


# What writes: each entry runs in a transaction of its own that is rolled back.  Names are new ones, since
# those of models, documents and uploads are taken for all: that is all that is told of what is hidden.
WRITES = {
    "ingest(text)": _of("ingest(%s, 'new', 4)", Ask.folder),
    "drop_model(text)": _of("drop_model(%s)", Ask.own_model),
    "export_model(text, text)": _of("export_model(%s, %s)", Ask.own_model, Ask.target),
    "drop_vector_index(text)": _of("drop_vector_index(%s)", Ask.own_model),
    "compose(text)": _of("compose(%s::text)", Ask.text),
    "compose(bytea)": _of("compose(convert_to(%s, 'UTF8'))", Ask.text),
    "drop_composition(bytea)": _of("drop_composition(%s)", Ask.kept),
    "ingest_text(text, text)": _stored("ingest_text('new', model => %s, content => %s::text)", Ask.text),
    "ingest_text(text, bytea)": _stored(
        "ingest_text('new', model => %s, content => convert_to(%s, 'UTF8'))", Ask.text
    ),
    "ingest_texts(text[], text[])": _stored(
        "ingest_texts('{new,newer}', model => %s, contents => ARRAY[%s, %s])", Ask.text, Ask.text
    ),
    "ingest_texts_from(refcursor)": _after(
        _asked("DECLARE texts CURSOR FOR SELECT 'new', 'Waab kept new. ' || 'Waai waaj? ', NULL::jsonb"),
        _of("ingest_texts_from('texts', %s)", Ask.model),
        _SEARCH,
    ),
    "drop_document(text)": _dropped,
    "read_documents()": _stored("read_documents(%s, ARRAY[%s])", Ask.own_document),
    "embed_documents()": _stored("embed_documents(%s)"),
    "relate_sequences()": _after(
        _of("relate_sequences(%s, %s, 1)", Ask.own_model, Ask.few),
        _of("relation_overview WHERE kind = 'sequence' ORDER BY model, source_id, rank"),
    ),
    "upload_begin(text, text)": _after(
        _of("upload_cancel(%s)", lambda ask: ask.random.choice(UPLOADS)[0]),
        _of("upload_part(%s, 0, 'x')", Ask.upload),
        _of("upload_finish(%s, %s)", Ask.upload, blake3(_FILE).digest()),
        _asked("SELECT hypercube.upload_begin('brought', 'model.safetensors') IS NOT NULL"),
        _of(f"upload_part({_ID}, 0, %s)", _FILE),
        _of(f"upload_finish({_ID}, %s)", blake3(_FILE).digest()),
        _of("ingest_upload('brought', 4)"),
    ),
}  # fmt: skip
# After these their caller may see less, and so more than is left for him in the other database.
GRANTS = {
    "grant_model(text, text)": _of("grant_model(%s, %s)", Ask.own_model, Ask.role),
    "revoke_model(text, text)": _of("revoke_model(%s, %s)", Ask.own_model, Ask.role),
    "give_model(text, text)": _of("give_model(%s, %s)", Ask.own_model, Ask.heir),
    "grant_document(text, text)": _of("grant_document(%s, %s)", Ask.own_document, Ask.role),
    "revoke_document(text, text)": _of("revoke_document(%s, %s)", Ask.own_document, Ask.role),
    "give_document(text, text)": _of("give_document(%s, %s)", Ask.own_document, Ask.heir),
}
# Part of another entry.
WITHIN = {
    "upload_cancel(text)", "upload_part(uuid, integer, bytea)", "upload_finish(uuid, bytea)",
    "ingest_upload(text)",
}  # fmt: skip
# What is shown there are the statements of sessions, which no database holds.
OF_SESSIONS = {"progress"}
