"""What a statement answers, in a form that is compared: rows, refusal and notices."""

import contextlib
from typing import NamedTuple

import psycopg
from psycopg.pq import TransactionStatus


class Answer(NamedTuple):
    """The rows of a statement, or its refusal, and what was told on the way."""

    rows: list
    refusal: tuple
    told: list

    @property
    def is_one(self):
        return any(value is not None for row in self.rows for value in row)


def answer(db, statement, arguments=()):
    """Return the Answer to a statement, without seconds."""
    told = []
    db.add_notice_handler(listen := lambda notice: told.append(notice.message_primary))
    rows, refusal = [], None
    try:
        # Inside a transaction a refusal takes back its own statement alone.
        alone = db.info.transaction_status == TransactionStatus.IDLE
        with contextlib.nullcontext() if alone else db.transaction():
            cursor = db.execute(statement, arguments)
            names = [column.name for column in cursor.description or ()]
            rows = [
                tuple(None if name == "seconds" else value for name, value in zip(names, row, strict=True))
                for row in (cursor if names else ())
            ]
    except psycopg.Error as error:
        said = error.diag
        refusal = said.sqlstate, said.message_primary, said.message_detail, said.message_hint
    finally:
        db.remove_notice_handler(listen)
    # Lines about progress tell the time.
    return Answer(rows, refusal, [line for line in told if "%" not in line])
