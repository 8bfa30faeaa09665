"""The chain of the audit: the canonical form of an entry, its digest, and what a broken chain looks like.

An entry carries the digests of the entries that it covers: those that were there, and that nothing
covered before.  Nearly always that is the one before it.  Where transactions wrote side by side, none
of them waited: each covered what the others had not in hand, and a later entry covers them all.  What
nothing covers yet is a tip, and is listed apart from the entries.

Knows rows as the server spells them as text, and nothing of the server.
"""

import bisect
import itertools
import json
from typing import NamedTuple

from blake3 import blake3

# Every column of an entry but its digest, in the order in which they are hashed.  Entries of before there
# were ids of calls have none, and are hashed without.
FIELDS = (
    "chain", "id", "at", "transaction", "session_role", "role", "client_addr", "client_port", "pid",
    "application", "operation", "kind", "objects", "rows", "by_hand", "old", "new", "detail", "statement",
    "statement_length", "statement_digest", "outcome", "sqlstate", "message", "attempt", "covers",
    "covered_chains", "covered_digests", "call",
)  # fmt: skip

INSTALLED, CHECKED, SEALED, DROPPED = "install", "checkpoint", "seal", "drop segment"
# What stays of a segment that is dropped.
KEPT = (INSTALLED, CHECKED, SEALED, DROPPED)
DIGEST_BYTES = 32
_HEADER, _HEADER_WITHOUT_CALL = b"hypercube audit entry 2\n", b"hypercube audit entry 1\n"
_PROBLEMS = 1_000


def digest(entry):
    """Return the 32-byte digest of an entry: BLAKE3 of its header line and its fields.

    Parameters
    ----------
    entry : dict of str to str or None
        FIELDS as text; bytes in hexadecimal.  Each is written as the number of its bytes in UTF-8, a
        colon, the bytes and a newline; None as a minus sign and a newline.
    """
    old = entry["call"] is None
    parts = [_HEADER_WITHOUT_CALL if old else _HEADER]
    for field in FIELDS[:-1] if old else FIELDS:
        value = entry[field]
        if value is None:
            parts.append(b"-\n")
        else:
            spelled = value.encode()
            parts.append(b"%d:%b\n" % (len(spelled), spelled))
    return blake3(b"".join(parts)).digest()


def number(system, database, relation):
    """Return the number of a chain: 63 bits of what its table, database and cluster are called."""
    name = blake3(f"hypercube audit chain 1\n{system} {database} {relation}\n".encode())
    return int.from_bytes(name.digest(length=8), "big") >> 1


def array(numbers):
    """Return numbers as PostgreSQL spells an array of them."""
    return "{" + ",".join(map(str, numbers)) + "}"


def link(entries, tips):
    """Make a chain of new entries, the first of which covers the tips; return the digest of the last.

    Parameters
    ----------
    entries : list of dict
        With all FIELDS but those of what they cover; each gets these and its digest, in hexadecimal.
    tips : list of (chain, id, digest)
    """
    covered = sorted(tips)
    for entry in entries:
        entry["covers"] = array(tip[1] for tip in covered)
        entry["covered_chains"] = array(tip[0] for tip in covered)
        entry["covered_digests"] = b"".join(tip[2] for tip in covered).hex()
        found = digest(entry)
        entry["digest"] = found.hex()
        covered = [(int(entry["chain"]), int(entry["id"]), found)]
    return found


def covered(entry):
    """Return what an entry says it covers, as a list of ((chain, id), digest)."""
    ids, chains = _numbers(entry["covers"]), _numbers(entry["covered_chains"])
    digests = bytes.fromhex(entry["covered_digests"])
    pieces = [digests[at : at + DIGEST_BYTES] for at in range(0, len(digests), DIGEST_BYTES)]
    if not len(ids) == len(chains) == len(pieces):
        return []
    return list(zip(zip(chains, ids, strict=True), pieces, strict=True))


def _numbers(text):
    return [int(part) for part in text.strip("{}").split(",") if part]


class Segment(NamedTuple):
    """Entries that an entry of operation "seal" closed; `dropped` when only a few of them are left."""

    chain: int
    number: int
    first: int
    last: int
    entries: int
    digest: bytes
    dropped: bool


class Verdict(NamedTuple):
    """What a verification found; `first_bad` and `problem` are None where all is well."""

    ok: bool
    entries: int
    first_bad: int | None
    problem: str | None


class _Runs:
    """Which numbers were met, in increasing order; takes memory for the gaps only."""

    def __init__(self):
        self._firsts, self._lasts = [], []

    def add(self, number):
        if self._lasts and self._lasts[-1] == number - 1:
            self._lasts[-1] = number
        else:
            self._firsts.append(number)
            self._lasts.append(number)

    def __contains__(self, number):
        place = bisect.bisect_right(self._firsts, number) - 1
        return place >= 0 and number <= self._lasts[place]

    def last(self):
        return self._lasts[-1]


class Verification:
    """Follows the entries of an audit in the order of (chain, id), one at a time.

    Parameters
    ----------
    tips : iterable of (chain, id, digest)
    segments : iterable of Segment
    checkpoint : bytes or None
        A digest that must be that of an entry.

    Notes
    -----
    An entry is bad if its fields do not have its digest, if what it covers is missing, has another
    digest or is covered twice, or if nothing covers it although it is no tip.  Memory grows with the
    tips, the segments and the gaps between the numbers, not with the entries.
    """

    def __init__(self, tips, segments, checkpoint=None):
        self._tips = {(chain, number): found for chain, number, found in tips}
        self._segments = {}
        for segment in sorted(segments):
            self._segments.setdefault(segment.chain, []).append(segment)
        self._checkpoint, self._checkpoint_met = checkpoint, checkpoint is None
        self._open = {}
        self._met = {}
        self._from_elsewhere = []
        self._problems, self._twice, self._torn = [], [], {}
        self._counts, self._left, self._drops = {}, {}, {}
        self._chains = []
        self.entries = 0

    def add(self, entry):
        """Take in the next entry: a dict of FIELDS and `digest`, all as text."""
        self.entries += 1
        key = int(entry["chain"]), int(entry["id"])
        if key[0] not in self._met:
            self._met[key[0]] = _Runs()
            self._chains.append(key[0])
        self._met[key[0]].add(key[1])
        found = bytes.fromhex(entry["digest"])
        changed = digest(entry) != found
        if changed:
            self._bad(key, "was changed")
        elif found == self._checkpoint:
            self._checkpoint_met = True
        segment = self._segment(key)
        if entry["operation"] == SEALED and (segment is None or segment.last != key[1]):
            self._bad(key, "seals a segment that is not listed")
        if entry["operation"] == DROPPED:
            self._note_drop(entry)
        gone = segment is not None and segment.dropped
        if segment is not None:
            self._count(segment, entry, key, found)
        claims = covered(entry)
        if changed:
            self._cover_as_far_as_true(key, claims)
            claims = []
        for covers, before in claims:
            if covers[0] != key[0]:
                self._from_elsewhere.append((key, covers, before))
            elif not gone or covers[1] < segment.first:
                self._cover(key, covers, before)
        if not gone or segment.last == key[1]:
            self._open[key] = found

    def _segment(self, key):
        listed = self._segments.get(key[0], [])
        place = bisect.bisect_left(listed, key[1], key=lambda segment: segment.last)
        return listed[place] if place < len(listed) and listed[place].first <= key[1] else None

    def _count(self, segment, entry, key, found):
        name = segment.chain, segment.number
        self._counts[name] = self._counts.get(name, 0) + 1
        if segment.dropped:
            self._left.setdefault(name, blake3()).update(found)
        if key[1] == segment.last and (entry["operation"] != SEALED or found != segment.digest):
            self._bad(key, f"is not the one that sealed segment {segment.number}")

    def _note_drop(self, entry):
        told = json.loads(entry["detail"] or "{}")
        self._drops[told.get("chain"), told.get("number")] = told.get("left")

    def _cover_as_far_as_true(self, key, claims):
        """Believe of a changed entry what fits; what it covered else is not known."""
        fitting = [covers for covers, before in claims if self._open.get(covers) == before]
        for covers in fitting:
            del self._open[covers]
        if not claims or len(fitting) < len(claims):
            self._tear(key)

    def _cover(self, key, covers, before):
        if covers in self._open:
            if self._open.pop(covers) != before:
                self._bad(covers, "was changed or replaced, with its digest")
            return
        segment = self._segment(covers)
        if segment is not None and segment.dropped and segment.last != covers[1]:
            return
        if covers[1] in self._met.get(covers[0], ()):
            self._twice.append((key, covers))
        else:
            self._bad(covers, "was removed")
            self._tear(covers)

    def _tear(self, key):
        """Note that what an entry covered cannot be known any more."""
        self._torn[key[0]] = max(key[1], self._torn.get(key[0], key[1]))

    def _bad(self, key, problem):
        if len(self._problems) < _PROBLEMS:
            self._problems.append((key, problem))

    def end(self):
        """Return the Verdict over all entries."""
        for claim in self._from_elsewhere:
            self._cover(*claim)
        for segment in itertools.chain.from_iterable(self._segments.values()):
            self._compare_segment(segment)
        self._compare_tips()
        if not self.entries:
            self._bad((0, None), "is missing: the first entry is made with the extension")
        if self._problems:
            places = {chain: place for place, chain in enumerate(self._chains)}
            (chain, first), problem = min(
                self._problems, key=lambda bad: (places.get(bad[0][0], -1), bad[0][1] or 0)
            )
            return Verdict(False, self.entries, first, f"entry {first or 1} of chain {chain} {problem}")
        if not self._checkpoint_met:
            return Verdict(
                False, self.entries, None,
                "no entry has the digest of the checkpoint: the end was cut off, or the chain written anew",
            )  # fmt: skip
        return Verdict(True, self.entries, None, None)

    def _compare_tips(self):
        for key in self._tips:
            if key[1] not in self._met.get(key[0], ()):
                self._tear(key)
        # What is uncovered may have been covered by what is no longer there, or no longer says so.
        orphans = [
            key
            for key in self._open.keys() - self._tips.keys()
            if not self._torn.keys() - {key[0]} and self._torn.get(key[0], -1) < key[1]
        ]
        for key in orphans:
            if self._met[key[0]].last() == key[1]:
                self._bad(key, "is the last and no tip: what came after it was removed, or it was inserted")
            else:
                self._bad(key, "was inserted: nothing covers it")
        for key, found in self._tips.items():
            if key in self._open:
                if self._open[key] != found:
                    self._bad(key, "was changed or replaced, with its digest")
            elif key[1] in self._met.get(key[0], ()):
                # Unless what covers it was inserted, which is found above.
                if not orphans:
                    self._bad(key, "is listed as a tip, and is none")
            else:
                self._bad(key, "was removed")
        # Of two that cover the same, the one that nothing covers was inserted: it is found above.
        for key, covers in () if orphans else self._twice:
            self._bad(key, f"covers entry {covers[1]}, which another covers: one of the two was inserted")

    def _compare_segment(self, segment):
        name = segment.chain, segment.number
        if segment.dropped:
            left = self._left[name].hexdigest() if name in self._left else None
            if left is None or self._drops.get(name) != left:
                key = segment.chain, segment.first
                self._bad(key, f"and others of segment {segment.number} were removed or changed, not dropped")
                self._tear((segment.chain, segment.last))
        elif self._counts.get(name, 0) != segment.entries:
            there = f"{self._counts.get(name, 0)} are there"
            self._bad((segment.chain, segment.last), f"sealed {segment.entries} entries, {there}")
