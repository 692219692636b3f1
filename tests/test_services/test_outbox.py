"""The outbox: a page and its cursor are one, nothing leaves unacknowledged, and a broken file is kept."""

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.contract import DEAD_LETTERS, USERS, Fetch, Source, encode
from services.outbox import Acknowledged, Counts, Outbox, OutboxDamaged, OutboxFull, open_outbox
from services.records import Rejected
from services.source import Cursor

FIRST = Cursor("tests", 1, 10)
LETTER = Rejected("a reason", b"{}", None, Fetch(Source("s", 1, 2), datetime(2026, 11, 24, tzinfo=UTC)))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.sqlite"


def test_a_page_and_its_cursor_are_kept_together_and_survive_a_new_start(path, users):
    Outbox(path).keep(FIRST, users, [LETTER])
    again = Outbox(path)
    assert [row.value for row in again.waiting(0, 99)] == [*map(encode, users), b"{}"]
    assert again.cursor("tests", 10, "").page == 2
    assert again.counts() == Counts(11, 0, 1, 0, 0, 10, 1)


def test_cursors_of_other_seeds_and_sizes_are_their_own(path, users):
    outbox = Outbox(path)
    outbox.keep(FIRST, users, [])
    assert [
        outbox.cursor(*c).page for c in [("tests", 10, ""), ("other", 10, ""), ("tests", 11, ""), ("tests", 10, "FR")]
    ] == [2, 1, 1, 1]


def test_known_users_are_counted_and_not_sent_again(path, users):
    outbox = Outbox(path)
    assert [outbox.keep(FIRST, users, []), outbox.keep(FIRST, users, [])] == [10, 0]
    assert outbox.counts() == Counts(20, 10, 0, 0, 0, 10, 0)
    assert outbox.only_known(users)


def test_only_so_many_users_are_remembered(path, users):
    outbox = Outbox(path, seen_users=4)
    outbox.keep(FIRST, users, [])
    assert [outbox.only_known([user]) for user in users] == [False] * 6 + [True] * 4


def test_rows_leave_when_acknowledged_and_a_second_time_changes_nothing(path, users):
    outbox = Outbox(path)
    outbox.keep(FIRST, users, [LETTER])
    rows = outbox.waiting(0, 99)
    gone = [Acknowledged(row.seq, row.topic, 0, 100 + row.seq) for row in [*rows[:4], rows[-1]]]
    outbox.acknowledge(gone)
    outbox.acknowledge(gone)
    assert [row.seq for row in outbox.waiting(0, 99)] == [row.seq for row in rows[4:-1]]
    assert outbox.counts() == Counts(11, 0, 1, 4, 1, 6, 0)
    assert outbox.positions() == {(USERS, 0): 105, (DEAD_LETTERS, 0): 112}


def test_at_its_bound_the_page_is_refused_and_the_cursor_stays(path, users):
    outbox = Outbox(path, max_bytes=sum(len(encode(user)) for user in users) + 10)
    outbox.keep(FIRST, users, [])
    with pytest.raises(OutboxFull, match="VIGIE_OUTBOX_MAX_MB"):
        outbox.keep(Cursor("tests", 2, 10), users[:1], [])
    assert outbox.cursor("tests", 10, "").page == 2
    outbox.acknowledge([Acknowledged(row.seq, row.topic, 0, row.seq) for row in outbox.waiting(0, 5)])
    outbox.keep(Cursor("tests", 2, 10), users[:1], [])
    assert outbox.cursor("tests", 10, "").page == 3


def test_a_full_disk_refuses_the_page_whole_and_lets_it_in_later(path, users):
    outbox = Outbox(path)
    outbox._db.execute(f"PRAGMA max_page_count={outbox._db.execute('PRAGMA page_count').fetchone()[0]}")
    with pytest.raises(OutboxFull, match="full"):
        outbox.keep(FIRST, users, [LETTER])
    assert outbox.counts() == Counts(0, 0, 0, 0, 0, 0, 0)
    assert outbox.cursor("tests", 10, "").page == 1
    outbox._db.execute("PRAGMA max_page_count=100000")
    outbox.keep(FIRST, users, [LETTER])
    assert outbox.counts().fetched == 11


@pytest.mark.parametrize("content", [b"this is not a database, " * 50, b"SQLite format 3\x00" + b"\xff" * 4096])
def test_a_damaged_file_is_kept_aside_and_a_new_outbox_begun(path, content):
    path.write_bytes(content)
    with pytest.raises(OutboxDamaged):
        Outbox(path)
    fresh = open_outbox(path, 2**20, 100)
    assert fresh.counts().fetched == 0
    assert fresh.is_new()
    assert [one.read_bytes() for one in path.parent.glob("outbox.sqlite.damaged-*") if one.stat().st_size] == [content]


def test_a_page_in_the_middle_of_a_real_file_that_was_overwritten_is_noticed(path, users):
    outbox = Outbox(path)
    for page in range(1, 60):
        outbox.keep(Cursor("tests", page, 10), users, [LETTER] * 20)
    outbox.close()
    with path.open("r+b") as file:
        file.seek(4096 * 2)
        file.write(b"\xff" * 4096 * 4)
    with pytest.raises(OutboxDamaged):
        Outbox(path)


def test_another_version_of_the_file_is_kept_aside(path):
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE other(x)")
        db.execute("PRAGMA user_version=7")
    with pytest.raises(OutboxDamaged, match="format 7"):
        Outbox(path)


def test_a_new_outbox_learns_from_the_topic_whom_it_has_met(path, users):
    outbox = Outbox(path)
    outbox.meet([user.user_id for user in users], [Cursor("tests", 7, 10)], "drawn earlier")
    assert outbox.seed("") == "drawn earlier"
    outbox.look_from({(USERS, 0): 50})
    assert outbox.only_known(users)
    assert not outbox.is_new()
    assert outbox.cursor("tests", 10, "").page == 7


KEEPER = """
    import sys
    from pathlib import Path
    from services.contract import decode
    from services.outbox import Outbox
    from services.source import Cursor
    outbox = Outbox(Path(sys.argv[1]), seen_users=0)
    users = [decode(line) for line in sys.stdin.buffer.read().splitlines()]
    page = outbox.cursor("tests", 10, "").page
    print("ready", flush=True)
    while True:
        outbox.keep(Cursor("tests", page, 10), users, [])
        page += 1
"""


def test_killed_at_any_moment_pages_and_cursor_agree(path, users):
    lines = b"\n".join(encode(user) for user in users)
    for pause_s in (0.0, 0.003, 0.011, 0.02, 0.05):
        writer = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(KEEPER), str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        writer.stdin.write(lines)
        writer.stdin.close()
        assert writer.stdout.readline() == b"ready\n"
        try:
            writer.wait(pause_s)
        except subprocess.TimeoutExpired:
            os.kill(writer.pid, signal.SIGKILL)
        writer.wait(10)
        writer.stdout.close()
        outbox = Outbox(path)
        pages = outbox.cursor("tests", 10, "").page - 1
        assert outbox.counts().fetched == pages * 10
        assert outbox.counts().waiting + outbox.counts().duplicates == pages * 10
        outbox.close()
