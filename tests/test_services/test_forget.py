"""Who is forgotten leaves the outbox's file, every count still agrees, and the audit knows whom it cannot sum."""

import sqlite3
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from services import forget
from services.contract import DEAD_LETTERS, Fetch, Source
from services.evidence import Fetched, Stored, User, expected_sums
from services.findings import differing, of_forgotten, of_ingestion, with_forgotten
from services.gaps import CHECKS, OfOutbox, Reading
from services.outbox import Outbox
from services.outbox_file import Counts
from services.outbox_file import forget as forget_rows
from services.records import Rejected
from services.source import Cursor

FIRST = Cursor("tests", 1, 10)
AT = datetime(2026, 11, 24, 12, 0, 30, tzinfo=UTC)
MINUTE = AT.replace(second=0)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "outbox.sqlite"


def ingestion(outbox: Outbox) -> tuple[int, str]:
    """What the auditor and the audit say of the outbox's counts."""
    of_outbox = OfOutbox(outbox.id, outbox.counts(), looked_back=True)
    difference = CHECKS["ingestion"](Reading(None, None, of_outbox, None, of_outbox, None))
    return difference.now, of_ingestion(Fetched(outbox.id, outbox.counts(), 99, "tests", {})).differs


def on_disk(path) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(path.parent.glob(f"{path.name}*")))


def test_a_row_and_a_letter_that_wait_are_gone_from_the_file_and_counts_agree(path, users):
    one = users[3]
    fetch = Fetch(Source("tests", 1, 10), AT)
    keyed = Rejected("a reason", b"keyed-" + one.email.encode(), one.user_id, fetch, "not_json")
    unkeyed = Rejected("a reason", b"of " + one.user_id.encode() + one.email.encode(), None, fetch, "not_json")
    outbox = Outbox(path)
    outbox.keep(FIRST, users, [keyed, unkeyed])
    assert one.email.encode() in on_disk(path)
    assert [forget_rows(path, one.user_id) for _ in range(2)] == [3, 0]
    assert one.email.encode() not in on_disk(path)
    assert outbox.counts() == Counts(12, 0, 2, 0, 0, 9, 0, forgotten=1, forgotten_dead=2)
    assert ingestion(outbox) == (0, "")


def test_who_left_the_outbox_long_ago_is_not_in_its_free_pages(path, users):
    outbox = Outbox(path)
    outbox.keep(FIRST, users, [])
    outbox.acknowledge([row.acknowledged(0, row.seq) for row in outbox.waiting(0, 99)])
    assert users[0].email.encode() in on_disk(path)
    forget_rows(path, users[0].user_id)
    assert users[0].email.encode() not in on_disk(path)


def test_a_row_that_was_being_sent_is_acknowledged_once(path, users):
    outbox = Outbox(path)
    outbox.keep(FIRST, users, [])
    sent = outbox.waiting(0, 99)
    forget_rows(path, users[0].user_id)
    for _ in range(2):
        outbox.acknowledge([row.acknowledged(0, row.seq) for row in sent])
    assert outbox.counts() == Counts(10, 0, 0, 10, 0, 0, 0)
    assert ingestion(outbox) == (0, "")


def test_the_door_stays_closed_to_who_was_forgotten_also_before_the_first_visit(path, users):
    outbox = Outbox(path)
    forget_rows(path, users[0].user_id)
    outbox.keep(FIRST, users, [])
    assert outbox.counts() == Counts(10, 1, 0, 0, 0, 9, 0)


def test_an_outbox_that_is_written_meanwhile_loses_nothing(path, users):
    """A writer that waits for a lock is another process: here it holds the lock when the forgetting begins."""
    outbox = Outbox(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("BEGIN")
        assert writer.execute("SELECT count(*) FROM seen").fetchone() == (0,)
        outbox.keep(FIRST, users, [])
        with pytest.raises(sqlite3.OperationalError, match=r"in use|locked"):
            forget_rows(path, users[0].user_id, patience_s=0.2)
        writer.execute("COMMIT")
    forget_rows(path, users[0].user_id)
    assert users[0].email.encode() not in on_disk(path)
    assert outbox.counts() == Counts(10, 0, 0, 0, 0, 9, 0, forgotten=1)


def test_an_outbox_of_format_2_learns_to_forget(path, users):
    Outbox(path).keep(FIRST, users, [])
    with sqlite3.connect(path) as db:
        db.execute("DROP TABLE forgotten")
        db.execute("PRAGMA user_version=2")
    assert Outbox(path).counts() == Counts(10, 0, 0, 0, 0, 10, 0)
    assert forget_rows(path, users[0].user_id) == 1


def someone(seconds: float, country: str = "France", age: int = 40) -> User:
    return User(AT + timedelta(seconds=seconds), country, "male", age, "FR")


def summed(*users: User) -> dict:
    return expected_sums(users, before=AT + timedelta(hours=1))


def compared(stored: Stored, *counted: User) -> str:
    found = summed(*counted)
    return differing(with_forgotten(summed(*stored.users.values()), found, stored), found)


def test_sums_that_hold_the_forgotten_agree():
    stored = Stored({"a": someone(0)}, {"b"}, Counter({MINUTE: 1}))
    assert compared(stored, someone(0), someone(1, "Spain", 70)) == ""
    assert compared(stored, someone(0)) == "", "as after the sums were made anew from the documents"


def test_one_too_many_beside_the_forgotten_still_differs():
    stored = Stored({"a": someone(0)}, {"b"}, Counter({MINUTE: 1}))
    assert "all all: (1, 40) / (3, 110)" in compared(stored, someone(0), someone(1), someone(2, "Spain", 30))
    assert "6 sums differ" in compared(stored, someone(0), someone(90)), "another minute"
    assert "6 sums differ" in compared(stored), "one who is stored, and not summed"


def test_one_who_was_forgotten_before_being_stored_may_be_summed_in_any_minute_once():
    stored = Stored({"a": someone(0)}, {"b"}, Counter(), ahead=1)
    assert compared(stored, someone(0), someone(600)) == ""
    assert compared(stored, someone(0), someone(600), someone(700)) != ""


def test_one_who_is_back_is_named():
    class Wanted:
        users_days = 0

    gone = Stored({"a": someone(0)}, {"b"}, registered={"b"})
    assert of_forgotten(Wanted, gone).differs == ""
    assert of_forgotten(Wanted, Stored({"b": someone(0)}, registered={"b"})).differs.endswith(": b")
    assert of_forgotten(Wanted, Stored({}, registered={"b"})).differs.endswith(": b")
    assert of_forgotten(Wanted, Stored({}, {"b"}, registered={"b"}, shown={"a"})).differs == ""
    assert of_forgotten(Wanted, Stored({}, {"b"}, registered={"b"}, shown={"a", "b"})).differs.endswith(": b")


def test_an_id_that_is_none_is_refused(capsys):
    assert forget.main(["somebody"]) == 2
    assert "is no user's id" in capsys.readouterr().err


def test_a_part_that_does_not_answer_is_told_and_the_command_fails(tmp_path, monkeypatch, capsys, users):
    path = tmp_path / "data" / "ingest" / "outbox.sqlite"
    Outbox(path).keep(FIRST, users, [])
    monkeypatch.setenv("VIGIE_STATE", str(tmp_path))
    monkeypatch.setenv("VIGIE_MONGO_URI", "mongodb://127.0.0.1:9")
    monkeypatch.setattr(forget.logs, "start", lambda *_, **__: None)
    assert forget.main([users[0].user_id]) == 1
    said = capsys.readouterr()
    assert "outbox   1 rows removed" in said.out
    assert "give the same command again" in said.err
    assert DEAD_LETTERS not in said.out
