"""Texts: atoms, documents, tokens, vectors and search, each beside the bare work that it comes from."""

import hashlib
import json
from pathlib import Path

import numpy as np
from bench_encoder import measure_encoder
from bench_tools import Row, say, spell, take_turns, tell_turns, timed, weigh
from blake3 import blake3
from safetensors import safe_open
from tokenizers import Tokenizer

from hypercube import architecture, atoms, hilbert
from hypercube.encoder import Encoder
from rows import MODELS

BOOK = Path(__file__).parents[1] / ".local" / "books" / "moby-dick"
MODEL = MODELS / "all-MiniLM-L6-v2"
_QUERY = "a huge white sea creature"
_ENCODED = 1000


def measure_texts(server):
    """Measure everything in the database "minilm", whose model is ingested."""
    yield from measure_atoms()
    chapters = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(BOOK.glob("*.json"))]
    names = [f"Moby-Dick, chapter {chapter['chapter']}" for chapter in chapters]
    contents = [chapter["text"] for chapter in chapters]
    tokenizer = Tokenizer.from_file(str(MODEL / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    with server.connect(dbname="minilm", autocommit=True) as db:
        db.execute("SET client_min_messages = warning")
        spent = timed(lambda: db.execute("SELECT hypercube.seed_atoms()"))
        yield Row("seed_atoms(), 1,112,064 rows", spell(spent), target="<= 20 s", met=spent <= 20)
        yield from measure_documents(db, names, contents)
        yield from measure_tokens(db, tokenizer, max(contents, key=len))
        kind, flat = read_encoder()
        sentences = [row[0] for row in db.execute(
            "SELECT text FROM hypercube.sentence_overview ORDER BY document, ordinal LIMIT %s", (_ENCODED,)
        ).fetchall()]  # fmt: skip
        yield from measure_encoder(kind, flat, [tokenizer.encode(text).ids for text in sentences])
        yield from measure_search(db, Encoder(kind, flat), tokenizer)


def measure_atoms():
    everything = np.concatenate((np.arange(0xD800), np.arange(0xE000, 0x110000)))
    points = atoms.atom_points(everything)
    for name, task, of in (
        ("points of atoms", lambda: atoms.atom_points(everything), "one pass of numpy's sin"),
        ("Hilbert indexes", lambda: hilbert.hilbert_index(points), "one pass of numpy's sin"),
    ):
        spent, bare = take_turns(5, task, lambda: np.sin(points))
        rate = len(everything) / np.median(spent) / 1e6
        told = {"target": ">= 1 million a second", "met": rate >= 1}
        yield weigh(name, spent, bare, of, more=f", {rate:.1f} million a second", **told)


def measure_documents(db, names, contents):
    size = sum(len(content.encode()) for content in contents)
    found = {}

    def store(vectors):
        rows = db.execute(
            "SELECT sentences, new_sentences, tokens, shared * characters, characters"
            " FROM hypercube.ingest_texts(%s, %s, vectors => %s)",
            (names, contents, vectors),
        ).fetchall()
        found["report"] = np.array(rows, float).sum(axis=0)

    def take_out():
        for name in names:
            db.execute("SELECT hypercube.drop_document(%s)", (name,))

    def digest():
        for content in contents:
            blake3(content.encode()).digest()

    bare = timed(digest)
    quick = timed(lambda: store(False))
    dropped = timed(take_out)
    whole = timed(lambda: store(True))
    sentences, new, tokens, shared, characters = found["report"]
    read = {name: text for name, text in db.execute(
        "SELECT name, hypercube.document_bytes(name) FROM hypercube.document"
    )}  # fmt: skip
    equal = all(
        hashlib.sha256(read[name]).digest() == hashlib.sha256(content.encode()).digest()
        for name, content in zip(names, contents, strict=True)
    )
    say(f"digesting the book takes {spell(bare)}, dropping it {spell(dropped)}")
    yield Row(
        f"Moby-Dick, {len(names)} chapters, {size:,} bytes, without vectors",
        f"{spell(quick)}, {sentences:,.0f} sentences, {tokens:,.0f} tokens, {shared / characters:.2%} shared",
        target="<= 60 s, SHA-256 equal", met=quick <= 60 and equal,
    )  # fmt: skip
    yield Row("the same with vectors", f"{spell(whole)}, {new:,.0f} vectors")


def measure_tokens(db, tokenizer, text):
    def ask():
        return db.execute("SELECT * FROM hypercube.tokenize(%s)", (text,), binary=True).fetchall()

    def count():
        db.execute("SELECT count(*) FROM hypercube.tokenize(%s)", (text,))

    def library():
        encoding = tokenizer.encode(text, add_special_tokens=False)
        return encoding.ids, encoding.tokens, encoding.offsets

    equal = [row[1] for row in ask()] == library()[0]
    take_turns(2, count, library)
    spent, bare, fetched = take_turns(9, count, library, ask)
    name = f"tokenize, {len(text):,} characters, {len(library()[0]):,} tokens"
    yield weigh(name, spent, bare, "the tokenizers library", most=2.0, target="ids equal", met=equal)
    yield weigh("the same with its rows fetched by a client", fetched, bare, "the tokenizers library")


def read_encoder():
    """Return the architecture of MiniLM and the values of its tensors."""
    parsed = [
        json.loads((MODEL / path).read_text())
        for path in ("config.json", "modules.json", "1_Pooling/config.json", "sentence_bert_config.json")
    ]
    with safe_open(MODEL / "model.safetensors", "np") as file:
        shapes = {name: ("F32", tuple(file.get_slice(name).get_shape())) for name in file.keys()}
        kind = architecture.read(
            *parsed, {name: one for name, one in shapes.items() if "position_ids" not in name}
        )
        return kind, np.concatenate([file.get_tensor(name).ravel() for name in kind.names])


def measure_search(db, encoder, tokenizer):
    stored = db.execute(
        "SELECT composition_id, vector FROM hypercube.sentence_vector ORDER BY composition_id", binary=True
    ).fetchall()
    unit = np.array([np.frombuffer(vector, "<f4") for _, vector in stored])
    ids = tokenizer.encode(_QUERY).ids
    vector = encoder.encode([ids])[0]

    def ask():
        return db.execute("SELECT * FROM hypercube.search(%s, 10)", (_QUERY,)).fetchall()

    def embed():
        db.execute("SELECT hypercube.embed(%s)", (_QUERY,))

    def bare():
        encoder.encode([ids])
        unit @ vector

    best = np.sort(unit @ vector)[::-1][:10]
    equal = np.allclose([row[1] for row in ask()], best, atol=1e-5)
    take_turns(3, ask, embed, bare)
    asked, embedded, limit, product = take_turns(25, ask, embed, bare, lambda: unit @ vector)
    tell_turns({"search": asked[:5], "embed": embedded[:5], "bare": limit[:5], "product": product[:5]})
    name = f"search over {len(unit):,} sentences"
    yield weigh(
        name, asked, limit, "encoding the query and unit @ v, bare", most=1.5,
        target="scores of a scan in numpy", met=bool(equal),
    )  # fmt: skip
    beyond = np.maximum(asked - embedded, 0)
    yield weigh("what search takes beyond embed", beyond, product, "unit @ v")
    for name, statement in (
        ("search_text", "SELECT * FROM hypercube.search_text('white whale', 10)"),
        ("hybrid_search", f"SELECT * FROM hypercube.hybrid_search('{_QUERY}', 10)"),
        ("ask", "SELECT * FROM hypercube.ask('why does Ahab hate the whale?')"),
    ):
        [spent] = take_turns(9, lambda statement=statement: db.execute(statement))
        yield Row(name, spell(np.median(spent)))
