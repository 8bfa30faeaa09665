"""The chain of the audit: golden bytes of an entry, and every way to break it found by name."""

import copy
import random

import pytest
from blake3 import blake3

from hypercube import chain

CHAIN = 7


def entry(number, operation="insert", chain_number=CHAIN):
    fields = dict.fromkeys(chain.FIELDS)
    fields.update(
        chain=str(chain_number), id=str(number), operation=operation, kind="model", new=f"[{number}]"
    )
    return fields


def _stays(row, segment):
    return row["operation"] in chain.KEPT or any(key[1] < segment.first for key, _ in chain.covered(row))


class Audit:
    """Rows as a table would hold them: what is appended covers the free tips, like the real one."""

    def __init__(self):
        self.rows, self.tips, self.segments = [], {}, []

    def append(self, number, operation="insert", hidden=(), chain_number=CHAIN, detail=None, call=None):
        """Append an entry that does not see the tips of `hidden` numbers."""
        new = entry(number, operation, chain_number)
        new.update(detail=detail, call=call)
        seen = [key for key in self.tips if key[1] not in hidden]
        found = chain.link([new], [(*key, self.tips.pop(key)) for key in seen])
        self.tips[chain_number, number] = found
        self.rows.append(new)
        return found

    def seal(self, number):
        first = self.segments[-1].last + 1 if self.segments else 1
        found = self.append(number, chain.SEALED)
        inside = sum(first <= int(row["id"]) <= number for row in self.rows)
        self.segments.append(
            chain.Segment(CHAIN, len(self.segments) + 1, first, number, inside, found, False)
        )

    def drop(self, place, number):
        """Drop the segment at a place, with an entry of that number."""
        segment = self.segments[place]
        inside = [row for row in self.rows if segment.first <= int(row["id"]) <= segment.last]
        left = [row for row in inside if _stays(row, segment)]
        self.rows = [row for row in self.rows if row not in inside or row in left]
        self.segments[place] = segment._replace(dropped=True)
        digest = blake3(b"".join(bytes.fromhex(row["digest"]) for row in left)).hexdigest()
        detail = f'{{"chain": {CHAIN}, "number": {segment.number}, "left": "{digest}"}}'
        self.append(number, chain.DROPPED, detail=detail)

    def verdict(self, checkpoint=None):
        tips = [(*key, digest) for key, digest in self.tips.items()]
        verification = chain.Verification(tips, self.segments, checkpoint)
        for row in sorted(self.rows, key=lambda row: (int(row["chain"]), int(row["id"]))):
            verification.add(row)
        return verification.end()

    def row(self, number):
        return next(row for row in self.rows if int(row["id"]) == number)


@pytest.fixture
def audit():
    """Twenty entries, with gaps, of writers side by side: 7 did not see 6, nor 12 both 10 and 11."""
    made = Audit()
    for number in [1, 2, 3, 5, 6]:
        made.append(number)
    made.append(7, hidden=(6,))
    for number in [8, 9, 10]:
        made.append(number)
    made.append(11, hidden=(10,))
    made.append(12, hidden=(10, 11))
    for number in range(13, 22):
        made.append(number)
    return made


def test_the_canonical_form_of_an_entry_has_golden_bytes():
    fields = dict.fromkeys(chain.FIELDS)
    fields.update(chain="7", id="1", message="größer\n")
    spelled = b"hypercube audit entry 1\n1:7\n1:1\n" + b"-\n" * (chain.FIELDS.index("message") - 2)
    spelled += b"9:gr\xc3\xb6\xc3\x9fer\n\n" + b"-\n" * 4

    assert chain.digest(fields) == blake3(spelled).digest()
    assert chain.digest(fields).hex() == "8ae338ee84b36b36b8862255000394e687069398b019ee656cef236e1a2f325a"


def test_an_entry_with_the_id_of_its_call_has_a_form_of_its_own():
    """Those above are of before calls had ids: their digests stay."""
    fields = dict.fromkeys(chain.FIELDS)
    fields.update(chain="7", id="1", call="3ab73aad8a04")
    spelled = b"hypercube audit entry 2\n1:7\n1:1\n" + b"-\n" * (len(chain.FIELDS) - 3) + b"12:3ab73aad8a04\n"

    assert chain.digest(fields) == blake3(spelled).digest()
    assert len({chain.digest({**fields, "call": call}) for call in (None, "", "-", "3ab73aad8a04")}) == 4


@pytest.mark.parametrize(("before", "after"), [("3ab73aad8a04", None), (None, "3ab73aad8a04"), ("a", "b")])
def test_an_id_of_a_call_that_is_taken_away_added_or_changed_is_found(before, after):
    made = Audit()
    for number in range(1, 6):
        made.append(number, call=before)
    assert made.verdict().ok
    made.row(3)["call"] = after
    assert made.verdict()[:3] == (False, 5, 3)


def test_null_and_empty_and_shifted_fields_are_different_entries():
    some = entry(1)
    variants = [dict(some, old=None, new="ab"), dict(some, old="", new="ab"), dict(some, old="a", new="b")]
    assert len({chain.digest(variant) for variant in variants}) == 3


def test_the_number_of_a_chain_is_positive_and_of_all_three_names():
    found = {
        chain.number(*names) for names in (("1", "2", "3"), ("1", "2", "4"), ("1", "5", "3"), ("6", "2", "3"))
    }
    assert len(found) == 4
    assert all(0 <= number < 1 << 63 for number in found)


def test_a_chain_of_writers_side_by_side_is_whole(audit):
    assert audit.verdict() == (True, 20, None, None)
    assert chain.covered(audit.row(8)) == [
        ((CHAIN, number), bytes.fromhex(audit.row(number)["digest"])) for number in (6, 7)
    ]


@pytest.mark.parametrize("seed", range(20))
def test_any_order_of_writers_is_whole_and_any_change_is_found(seed):
    chance = random.Random(seed)
    made, numbers = Audit(), sorted(chance.sample(range(1, 90), 40))
    for number in numbers:
        free = [key[1] for key in made.tips]
        made.append(number, hidden=chance.sample(free, chance.randrange(len(free) + 1)))
    assert made.verdict().ok
    victim = chance.choice(numbers)
    field = chance.choice(
        [name for name in chain.FIELDS if name not in ("chain", "id", "covers", "covered_chains")]
    )
    made.row(victim)[field] = "00" if field == "covered_digests" else "another"
    assert made.verdict()[:3] == (False, 40, victim)


@pytest.mark.parametrize("field", [*chain.FIELDS[2:], "digest"])
def test_a_change_of_any_column_is_found(audit, field):
    audit.row(9)[field] = {"covers": "{8,9}", "covered_chains": "{8}", "covered_digests": "00" * 32}.get(
        field, "00" * 32
    )
    assert audit.verdict()[:3] == (False, 20, 9)


def test_a_change_with_a_digest_to_match_is_found_by_what_covers_it(audit):
    row = audit.row(9)
    row["message"] = "forged"
    row["digest"] = chain.digest(row).hex()
    assert audit.verdict()[2] == 9
    assert "changed or replaced" in audit.verdict().problem


@pytest.mark.parametrize("number", [1, 2, 6, 7, 8, 9, 12, 13, 20])
def test_a_removed_entry_is_named(audit, number):
    audit.rows.remove(audit.row(number))
    assert audit.verdict()[:3] == (False, 19, number)
    assert "was removed" in audit.verdict().problem


def test_a_removed_end_is_named_by_its_tip_or_by_what_is_last_now(audit):
    audit.rows.pop()
    assert audit.verdict()[:3] == (False, 19, 21)
    audit.tips.clear()
    assert audit.verdict()[2] == 20
    assert "what came after it was removed" in audit.verdict().problem


@pytest.mark.parametrize("number, covers", [(4, []), (4, [3]), (22, [21]), (22, [15])])
def test_an_inserted_entry_is_named(audit, number, covers):
    digests = [(CHAIN, other, bytes.fromhex(audit.row(other)["digest"])) for other in covers]
    forged = entry(number)
    chain.link([forged], digests)
    audit.rows.append(forged)
    assert audit.verdict()[2] == number
    assert "inserted" in audit.verdict().problem


def test_a_forged_entry_with_a_tip_of_its_own_is_found_where_it_covers_what_is_covered(audit):
    forged = entry(4)
    audit.tips[CHAIN, 4] = chain.link([forged], [(CHAIN, 3, bytes.fromhex(audit.row(3)["digest"]))])
    audit.rows.append(forged)
    assert audit.verdict()[2] == 5
    assert "one of the two was inserted" in audit.verdict().problem


@pytest.mark.parametrize("a, b", [(2, 3), (1, 21), (6, 7), (10, 15)])
def test_entries_that_changed_places_are_found(audit, a, b):
    first, second = audit.row(a), audit.row(b)
    first["id"], second["id"] = second["id"], first["id"]
    assert audit.verdict()[:3] == (False, 20, a)


def test_an_emptied_table_is_no_new_one(audit):
    audit.rows.clear()
    audit.tips.clear()
    assert audit.verdict() == (
        False, 0, None, "entry 1 of chain 0 is missing: the first entry is made with the extension",
    )  # fmt: skip


def test_a_cut_off_or_rewritten_chain_is_found_by_a_checkpoint(audit):
    checkpoint = audit.append(22, chain.CHECKED)
    audit.append(23)
    assert audit.verdict(checkpoint).ok
    rewritten = Audit()
    for row in audit.rows:
        rewritten.append(int(row["id"]), row["operation"])
    assert rewritten.verdict().ok
    assert not rewritten.verdict(checkpoint).ok
    cut = copy.deepcopy(audit)
    cut.rows = [row for row in cut.rows if int(row["id"]) <= 20]
    cut.tips = {(CHAIN, 20): bytes.fromhex(cut.row(20)["digest"])}
    assert cut.verdict().ok
    assert "digest of the checkpoint" in cut.verdict(checkpoint).problem


def test_another_chain_is_covered_by_the_first_entry_after_a_restore(audit):
    for new in (3, 9):
        restored = copy.deepcopy(audit)
        restored.append(1, chain.INSTALLED, hidden=(21,), chain_number=new)
        restored.append(2, chain_number=new)
        restored.append(3, chain_number=new)
        assert restored.verdict() == (True, 23, None, None)
        assert chain.covered(restored.rows[-2])[-1][0][1] in (1, 21)
        lost = copy.deepcopy(restored)
        lost.rows = [row for row in lost.rows if row["id"] != "21"]
        assert lost.verdict()[:3] == (False, 22, 21)


def test_of_two_faults_the_first_is_named(audit):
    forged = entry(4)
    chain.link([forged], [])
    audit.rows.append(forged)
    audit.row(9)["message"] = "forged"
    assert audit.verdict()[2] == 4
    audit.rows.remove(audit.row(3))
    assert audit.verdict()[2] == 3


class TestSegments:
    @pytest.fixture
    def sealed(self, audit):
        audit.seal(22)
        for number in range(23, 30):
            audit.append(number)
        audit.seal(30)
        audit.append(31)
        return audit

    def test_a_sealed_and_a_dropped_segment_leave_the_chain_whole(self, sealed):
        assert sealed.verdict() == (True, 30, None, None)
        sealed.drop(0, 32)
        assert sealed.verdict() == (True, 11, None, None)
        sealed.drop(1, 33)
        assert sealed.verdict() == (True, 6, None, None)

    def test_an_entry_that_tells_of_a_drop_stays_when_it_is_dropped_itself(self, sealed):
        sealed.drop(0, 32)
        sealed.seal(33)
        sealed.drop(2, 34)
        assert sealed.verdict().ok
        row = sealed.row(32)
        row["detail"] = row["detail"].replace('"number": 1', '"number": 2')
        row["digest"] = chain.digest(row).hex()
        assert not sealed.verdict().ok

    def test_entries_of_a_segment_that_only_says_it_was_dropped_are_missed(self, sealed):
        sealed.rows = [row for row in sealed.rows if int(row["id"]) >= 22]
        sealed.segments[0] = sealed.segments[0]._replace(dropped=True)
        assert sealed.verdict()[:3] == (False, 10, 1)
        assert "not dropped" in sealed.verdict().problem

    def test_a_segment_that_is_not_listed_is_found_at_its_seal(self, sealed):
        del sealed.segments[0]
        assert sealed.verdict()[2] == 22

    def test_a_segment_with_another_count_or_digest_is_found(self, sealed):
        good = sealed.segments[0]
        for wrong in (good._replace(entries=20), good._replace(digest=bytes(32))):
            sealed.segments[0] = wrong
            assert sealed.verdict()[2] == 22

    def test_an_entry_smuggled_into_a_dropped_segment_is_found(self, sealed):
        sealed.drop(0, 32)
        forged = entry(8, chain.DROPPED)
        chain.link([forged], [])
        sealed.rows.append(forged)
        assert sealed.verdict()[2] == 1
