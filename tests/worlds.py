"""A database of several tenants, and in plain Python what each of them sees of it.

The oracle asks no policy: it reads who owns what, who may read it and who is a member of whom, and derives
every other row from the models, documents, kept texts and uploads that are seen.
"""

import json
from typing import NamedTuple

import numpy as np
from blake3 import blake3
from hypothesis import strategies as st
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from hypercube import architecture
from small_models import tokenizer, vectors, words, write_model

# Names that have to be quoted are among them; "gone" is no role, as if it had been dropped.
LOGINS = ("anna", "berta", 'Carl "C." Carlsen', "dora")
READER = "emil"
ADMIN = "the chief"
GROUPS = ("klub", "The Crew")
ROLES = (READER, *LOGINS, *GROUPS)
OWNERS = (*LOGINS, *GROUPS, "gone")
GRANTEES = (*ROLES, "public", "gone")

WORDS = words(52)
MODELS = ("alike", "twin", "other", "bare", "only the embedding", "merged", "encoder")
SENTENCES = (
    "Waab waac waad. ", "Waae waaf waab! ", "Waag waah waab waac. ", "Waai waaj? ", "Waak waab waac waal. ",
    "Waam waan: waao waap. ", "Waaq waar. ", "Waas waat waau, waav. ", "Waab waab waab. ", "Waaw waax waac? ",
)  # fmt: skip
# The model that reads it, its sentences, and the options of its ingest; two have the same text.
DOCUMENTS = {
    "read by none": (None, (0, 1, 2), {}),
    "one sentence": (None, (0,), {"language": "simple"}),
    "first": ("alike", (0, 1, 3), {"metadata": Jsonb({"of": "anna"})}),
    "the same text": ("twin", (0, 1, 3), {}),
    "second": ("alike", (1, 4, 8), {}),
    "without vectors": ("alike", (8, 1, 9), {"vectors": False}),
    "thrice": ("alike", (3, 3, 3, 5), {"language": "simple"}),
    "encoded": ("encoder", (0, 4, 5), {}),
    "encoded again": ("encoder", (5, 6, 0, 8), {"language": "simple"}),
    "in merges": ("merged", (6, 0), {}),
    "of another model": ("other", (2, 3, 7), {"language": "simple"}),
    "without bytes": ("bare", (0, 7), {}),
}
# What is for others than tenants: of the backups that an admin sees there are none here.
AUDIT = ("audit_collection", "audit_entry", "audit_segment", "audit_tip", "backup_record")
EVERYBODYS = ("atom_map", "relation_kind")
KEPT = (SENTENCES[0], "waab", "Waab kept waac. Kept waaz.", "kept")
# Of the few that nobody reaches here, but for the rows of an answer.
LIMITS = (("models", 100), ("documents", 100), ("stored_bytes", 10**9), ("k", 6))
UPLOADS = (("coming", "model.safetensors"), ("coming", "config.json"), ("arriving", "model.safetensors"))


class Shuffle(NamedTuple):
    """Who owns, reads and uses what, and who is a member of whom: pairs of (group, member).

    `seeded` says whether all characters count as stored.
    """

    models: list
    documents: list
    kept: list
    uploads: list
    folders: list
    limits: list
    seeded: bool
    memberships: frozenset


def shuffles():
    """Return a strategy of Shuffle; members come before their groups in ROLES, so that there is no circle."""
    owned = st.tuples(st.sampled_from(OWNERS), st.lists(st.sampled_from(GRANTEES), max_size=2, unique=True))
    owner = st.sampled_from(OWNERS)
    pairs = [(group, member) for at, group in enumerate(ROLES) for member in ROLES[:at]]
    return st.builds(
        Shuffle,
        st.lists(owned, min_size=len(MODELS), max_size=len(MODELS)),
        st.lists(owned, min_size=len(DOCUMENTS), max_size=len(DOCUMENTS)),
        st.lists(owner, min_size=len(KEPT), max_size=len(KEPT)),
        st.lists(owner, min_size=len(UPLOADS), max_size=len(UPLOADS)),
        st.lists(st.sampled_from(ROLES), min_size=2, max_size=2),
        st.lists(st.sampled_from((*ROLES, "public")), min_size=len(LIMITS), max_size=len(LIMITS)),
        st.booleans(),
        st.frozensets(st.sampled_from(pairs), max_size=6),
    )


def all_of(role):
    """Return the Shuffle in which everything is a role's, which is a member of no other."""
    owned = (role, [])
    return Shuffle(
        [owned] * len(MODELS), [owned] * len(DOCUMENTS), [role] * len(KEPT), [role] * len(UPLOADS),
        [role] * 2, [READER] * len(LIMITS), False, frozenset(),
    )  # fmt: skip


def create_roles(db):
    """Create the roles; those that log in may bring models and texts, but for one who may only read."""
    for names, rights in (
        (LOGINS, "LOGIN IN ROLE hypercube_ingest"),
        ((READER,), "LOGIN IN ROLE hypercube_reader"),
        ((ADMIN,), "LOGIN IN ROLE hypercube_admin"),
        (GROUPS, "NOLOGIN"),
    ):
        for name in names:
            db.execute(sql.SQL("CREATE ROLE {} " + rights).format(sql.Identifier(name)))


def drop_roles(db):
    """Drop what create_roles made."""
    for name in (*ROLES, ADMIN):
        db.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def build(db, sources):
    """Fill a database that may read `sources` with models, texts and uploads, all of them a superuser's."""
    _store_documents(db, None)
    for name, (source, store) in _sources(sources).items():
        db.execute("SELECT hypercube.ingest(%s, %s, 6, %s)", (source, name, store))
    for model in MODELS:
        _store_documents(db, model)
    db.execute(
        "SELECT hypercube.relate_sequences('alike', 2, 1), hypercube.relate_sequences('encoder', 1, 1)"
    )
    for text in KEPT:
        db.execute("SELECT hypercube.compose(%s)", (text,))
    weights = (sources / "alike" / "model.safetensors").read_bytes()
    for name, path in UPLOADS:
        data = weights if path.endswith("safetensors") else b"{}"
        [id] = db.execute("SELECT hypercube.upload_begin(%s, %s)", (name, path)).fetchone()
        db.execute("SELECT hypercube.upload_part(%s, 0, %s)", (id, data))
        if path.endswith("safetensors"):
            db.execute("SELECT hypercube.upload_finish(%s, %s)", (id, blake3(data).digest()))
    db.execute(
        "INSERT INTO hypercube.index_recall (model_id, k, sample, mean, minimum, ef_search)"
        " SELECT id, 10, 50, 0.9, 0.5, 64 FROM hypercube.model WHERE name IN ('alike', 'other')"
    )
    db.execute("SELECT hypercube.allow_target(%s)", (str(sources / "part"),))
    for name in ("part", "twin", "other"):
        (sources / name).chmod(0o777)
    for folder in (sources / "twin", sources / "other"):
        db.execute("SELECT hypercube.allow_source(%s, %s)", (str(folder), ROLES[0]))
        db.execute("SELECT hypercube.allow_target(%s, %s)", (str(folder), ROLES[0]))
    for what, value in LIMITS:
        db.execute("SELECT hypercube.set_limit(%s, %s, %s)", (ROLES[0], what, value))
    db.execute("SELECT hypercube.refresh_consensus()")


def _store_documents(db, model):
    for name, (reader, places, options) in DOCUMENTS.items():
        if reader == model:
            options = {"model": model, **options}
            told = "".join(f", {option} => %s" for option in options)
            text = "".join(SENTENCES[place] for place in places)
            db.execute(f"SELECT hypercube.ingest_text(%s, %s{told})", (name, text, *options.values()))


def _sources(folder):
    """Write the models: their folders, and whose bytes are stored of each."""
    table = vectors(60)
    pieces = ["[UNK]", *WORDS, "##aa", "##ab", "waa", "Waab", "WAAC", "kept", "zz"]
    # The bytes of alike in another shape: one chunk of two different tensors.
    turned = {"encoder.layer.0.output.dense.weight": table.reshape(16, 60)}
    encoder, config, files = _encoder(table)
    found = {
        "alike": (write_model(folder / "alike", table, pieces=pieces), "all"),
        "twin": (write_model(folder / "twin", table, pieces=pieces), "all"),
        "other": (write_model(folder / "other", vectors(60, seed=8), pieces=pieces, tensors=turned), "all"),
        "bare": (write_model(folder / "bare", table, pieces=pieces), "none"),
        "only the embedding": (
            write_model(folder / "part", vectors(60, seed=9), pieces=pieces, tensors=turned), "embeddings",
        ),
        "merged": (write_model(folder / "merged", vectors(40, seed=10), tokenizer_json=_merging()), "all"),
        "encoder": (
            write_model(folder / "encoder", table, pieces=pieces, tensors=encoder, config=config), "all",
        ),
    }  # fmt: skip
    for path, content in files.items():
        target = folder / "encoder" / path
        target.parent.mkdir(exist_ok=True, mode=0o755)
        target.write_text(json.dumps(content), encoding="utf-8")
    return found


def _encoder(table):
    """Return the tensors, the configuration and the other files of a small sentence encoder."""
    rows, hidden = table.shape
    config = {
        "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24,
        "max_position_embeddings": 40, "type_vocab_size": 2, "layer_norm_eps": 1e-6,
    }  # fmt: skip
    random = np.random.default_rng(3)
    tensors = {
        name: random.normal(size=shape, scale=0.3).astype(np.float32)
        for name, shape in architecture._tensors(hidden, 24, 1, rows, 40, 2)[1:]
    }
    kinds = (("", "Transformer"), ("1_Pooling", "Pooling"))
    modules = [{"path": path, "type": f"sentence_transformers.models.{kind}"} for path, kind in kinds]
    pooling = {"word_embedding_dimension": hidden, "pooling_mode_mean_tokens": True}
    return tensors, config, {"modules.json": modules, "1_Pooling/config.json": pooling}


def _merging():
    """Return a BPE tokenizer with merges, which are relations of kind M."""
    letters = [*"Wabcdefghijklmnopqrstuvwx", ".", "[UNK]"]
    merges = [["a", "a"], ["w", "aa"], ["waa", "b"], ["waa", "c"], ["W", "aa"]]
    vocab = {piece: place for place, piece in enumerate([*letters, *("".join(pair) for pair in merges)])}
    told = tokenizer(["[UNK]"])
    return told | {
        "added_tokens": [],
        "normalizer": None,
        "decoder": None,
        "model": {"type": "BPE", "vocab": vocab, "merges": merges, "unk_token": "[UNK]"},
    }


def apply(db, shuffle):
    """Write down a Shuffle, as a superuser: memberships, and the owners and readers of rows."""
    with db.transaction():
        _apply_memberships(db, shuffle.memberships)
        for table, names, owned in (
            ("model", MODELS, shuffle.models),
            ("document", DOCUMENTS, shuffle.documents),
        ):
            for name, (owner, readers) in zip(names, owned, strict=True):
                db.execute(
                    f"UPDATE hypercube.{table} SET owner = %s, readers = %s WHERE name = %s",
                    (owner, readers, name),
                )
        # As if every character were stored.
        db.execute("UPDATE hypercube.atom_map SET seeded = %s", (shuffle.seeded,))
        for text, owner in zip(KEPT, shuffle.kept, strict=True):
            db.execute(
                "WITH kept AS (UPDATE hypercube.kept_composition SET owner = %s"
                "  WHERE composition_id = hypercube.composition_id(%s) RETURNING owner, holder_id)"
                " UPDATE hypercube.holder AS h SET role = k.owner FROM kept AS k WHERE h.id = k.holder_id",
                (owner, text),
            )
        for (name, path), owner in zip(UPLOADS, shuffle.uploads, strict=True):
            db.execute(
                "UPDATE hypercube.upload SET owner = %s WHERE name = %s AND path = %s", (owner, name, path)
            )
        for (what, _), role in zip(LIMITS, shuffle.limits, strict=True):
            db.execute("UPDATE hypercube.role_limit SET role = %s WHERE what = %s", (role, what))
        for table in ("allowed_source", "allowed_target"):
            for folder, role in zip(("twin", "other"), shuffle.folders, strict=True):
                db.execute(
                    f"UPDATE hypercube.{table} SET role = %s WHERE path LIKE '%%/' || %s", (role, folder)
                )


def _apply_memberships(db, wanted):
    found = db.execute(
        "SELECT pg_get_userbyid(roleid), pg_get_userbyid(member) FROM pg_auth_members"
        " WHERE pg_get_userbyid(roleid) = ANY (%(ours)s) AND pg_get_userbyid(member) = ANY (%(ours)s)",
        {"ours": list(ROLES)},
    ).fetchall()
    for statement, pairs in (
        ("REVOKE {} FROM {}", set(found) - wanted),
        ("GRANT {} TO {}", wanted - set(found)),
    ):
        for pair in sorted(pairs):
            db.execute(sql.SQL(statement).format(*map(sql.Identifier, pair)))


def tables(db):
    """Return the columns of the primary key of every table of the extension, by its name."""
    return dict(
        db.execute(
            "SELECT c.relname, (SELECT array_agg(a.attname::text ORDER BY a.attnum) FROM pg_attribute AS a"
            "  WHERE a.attrelid = c.oid AND a.attnum = ANY (i.indkey))"
            " FROM pg_class AS c JOIN pg_index AS i ON i.indrelid = c.oid AND i.indisprimary"
            " WHERE c.relnamespace = 'hypercube'::regnamespace AND c.relkind = 'r'"
        ).fetchall()
    )


def dump(db):
    """Return all rows of all tables but the audit's as dicts, with their key and text as _key and _text."""
    found = {}
    for table, key in tables(db).items():
        if table in AUDIT:
            continue
        cursor = db.cursor(row_factory=dict_row)
        columns = sql.SQL(", ").join(map(sql.Identifier, key))
        # Always in the same order: arguments are drawn from these rows, and the ids of uploads are random.
        order = sql.SQL("name, path") if table == "upload" else columns
        statement = sql.SQL("SELECT t.*, ROW({})::text AS _key, t::text AS _text FROM {} AS t ORDER BY {}")
        found[table] = cursor.execute(
            statement.format(columns, sql.Identifier("hypercube", table), order)
        ).fetchall()
    return found


def members(role, memberships):
    """Return the roles that a role is a member of, through others too, itself among them."""
    found, new = set(), {role}
    while new:
        found |= new
        new = {group for group, member in memberships if member in new} - found
    return found


def seen(rows, role, memberships):
    """Return those of the rows that a role sees, by table."""
    if role == ADMIN:
        return rows | {"limit_turn": []}
    mine = members(role, memberships)

    def granted(row):
        return row["owner"] in mine or any(one == "public" or one in mine for one in row["readers"])

    def those(table, kept):
        return [row for row in rows[table] if kept(row)]

    found = {table: those(table, granted) for table in ("model", "document")}
    models = {row["id"]: row for row in found["model"]}
    documents = {row["id"]: row for row in found["document"]}
    for table in (
        "model_file", "tensor", "token", "relation", "projection", "projection_metadata", "expectation",
        "index_recall",
    ):  # fmt: skip
        found[table] = those(table, lambda row: row["model_id"] in models)
    found["text_state"] = those(
        "text_state", lambda row: row["model_id"] in models and models[row["model_id"]]["owner"] in mine
    )
    stored = {row["digest"] for row in found["tensor"] if row["stored"]}
    found["tensor_chunk"] = those("tensor_chunk", lambda row: row["tensor_digest"] in stored)
    chunks = {row["chunk_digest"] for row in found["tensor_chunk"]}
    found["chunk"] = those("chunk", lambda row: row["digest"] in chunks)

    found["sentence"] = those("sentence", lambda row: row["document_id"] in documents)
    of = [(row["composition_id"], documents[row["document_id"]]) for row in found["sentence"]]
    languages = {(one, document["language"]) for one, document in of}
    readings = {(one, document["model_id"]) for one, document in of if document["model_id"] in models}
    found["sentence_search"] = those(
        "sentence_search", lambda row: (row["composition_id"], row["language"]) in languages
    )
    for table in ("sentence_token", "sentence_vector"):
        found[table] = those(table, lambda row: (row["composition_id"], row["model_id"]) in readings)
    found["sequence"] = those(
        "sequence", lambda row: row["document_id"] in documents and row["model_id"] in models
    )

    for table in ("kept_composition", "upload"):
        found[table] = those(table, lambda row: row["owner"] in mine)
    uploads = {row["id"] for row in found["upload"]}
    found["upload_part"] = those("upload_part", lambda row: row["upload_id"] in uploads)
    # Whoever logs in may bring models, or only read.
    rights = {"hypercube_reader"} | ({"hypercube_ingest"} if mine & set(LOGINS) else set())
    for table in ("allowed_source", "allowed_target"):
        found[table] = those(table, lambda row: row["role"] in mine | rights)

    found["holder"] = those(
        "holder",
        lambda row: row["model_id"] in models or row["document_id"] in documents or row["role"] in mine,
    )
    holders = {row["id"] for row in found["holder"]}
    found["holding"] = those("holding", lambda row: row["holder_id"] in holders)
    held = {row["composition_id"] for row in found["holding"]}
    found["composition"] = those("composition", lambda row: row["id"] in held)
    seeded = rows["atom_map"][0]["seeded"]
    found["atom"] = those("atom", lambda row: seeded or row["id"] in held)
    found["role_limit"] = those("role_limit", lambda row: row["role"] == "public" or row["role"] in mine)
    # Which sessions wait for each other is for none of them.
    found["limit_turn"] = []
    for table in EVERYBODYS:
        found[table] = rows[table]
    return found


def delete_but(db, kept):
    """Delete, as a superuser, every row that is not among `kept`.

    A document keeps the number of the model that reads it, also of one that is gone: its row is seen as it
    is.  What was set for the texts of a model stays with it, though its owner alone sees the row.
    """
    keys = tables(db)
    models = {row["id"] for row in kept["model"]}
    with db.transaction():
        # No trigger of a foreign key.
        db.execute("SET LOCAL session_replication_role = replica")
        for table, rows in kept.items():
            if table == "text_state":
                db.execute("DELETE FROM hypercube.text_state WHERE model_id <> ALL (%s)", (list(models),))
                continue
            columns = sql.SQL(", ").join(map(sql.Identifier, keys[table]))
            statement = sql.SQL("DELETE FROM {} WHERE ROW({})::text <> ALL (%s)")
            db.execute(
                statement.format(sql.Identifier("hypercube", table), columns),
                ([row["_key"] for row in rows],),
            )
