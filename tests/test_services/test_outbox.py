"""The outbox: a page and its cursor are one, nothing leaves unacknowledged, and a broken file is kept."""

import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from msgspec import structs

from services import canary
from services.contract import DEAD_LETTERS, USERS, Fetch, Source, UserEvent, encode
from services.outbox import Outbox, open_outbox
from services.outbox_file import COUNT, Counts, OutboxDamaged, OutboxFull, read_counts, short
from services.records import Rejected
from services.source import Cursor

FIRST = Cursor("tests", 1, 10)
AT = datetime(2026, 11, 24, tzinfo=UTC)
LETTER = Rejected("a reason", b"{}", None, Fetch(Source("s", 1, 2), AT), "not_json")
FORMAT_1 = Path(__file__).with_name("outbox_format_1.sql")  # a file that the last version of format 1 has left
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def canary_of(page: int) -> UserEvent:
    return canary.event(str(uuid.UUID(int=page, version=4)), page, AT)


def test_a_call_of_a_clock_that_was_ahead_is_one_of_now(tmp_path, users, monkeypatch):
    outbox = Outbox(tmp_path / "outbox.sqlite")
    now = time.time()
    with monkeypatch.context() as ahead:
        ahead.setattr(time, "time", lambda: now + 3600)
        outbox.keep(FIRST, users, [])
    ((at, n),) = outbox.calls(since=0)
    assert (n, at) == (10, pytest.approx(now, abs=5))


def columns(path: Path) -> list[str]:
    with sqlite3.connect(path) as db:
        return [name for _, name, *_ in db.execute("PRAGMA table_info(outbox)")]


@pytest.fixture
def of_format_1(path: Path) -> Path:
    with sqlite3.connect(path) as db:
        db.executescript(FORMAT_1.read_text())
        db.execute("PRAGMA user_version=1")
    return path


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
    gone = [row.acknowledged(0, 100 + row.seq) for row in [*rows[:4], rows[-1]]]
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
    outbox.acknowledge([row.acknowledged(0, row.seq) for row in outbox.waiting(0, 5)])
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


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 512 KB."""
    command = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(tmp_path)]
    if not shutil.which("mount") or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a small file system, on Linux")
    yield tmp_path
    subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


def test_a_disk_that_is_really_full_refuses_the_page_and_lets_it_in_when_there_is_room(small_disk, users):
    outbox, ballast = Outbox(small_disk / "outbox.sqlite"), small_disk / "ballast"
    with suppress(OSError):
        ballast.write_bytes(b"x" * 2**20)
    with pytest.raises(OutboxFull, match="full"):
        for page in range(1, 100):
            outbox.keep(
                Cursor("tests", page, 10), [structs.replace(user, user_id=str(uuid.uuid4())) for user in users], []
            )
    before = outbox.counts().fetched
    ballast.unlink()
    outbox.keep(Cursor("tests", 100, 10), [structs.replace(users[0], user_id=str(uuid.uuid4()))], [])
    assert outbox.counts().fetched == before + 1


def test_a_file_that_may_not_be_written_to_is_not_taken_for_a_damaged_one(path, users):
    kept = Outbox(path)
    kept.keep(FIRST, users, [])
    kept.close()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        with pytest.raises(OutboxFull):
            open_outbox(path, 2**20, 100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [one.name for one in path.parent.glob("*.damaged-*")] == []
    assert open_outbox(path, 2**20, 100).counts().fetched == len(users)


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
    for _ in range(2):
        outbox.meet([short(user.user_id) for user in users], [Cursor("tests", 7, 10)], "drawn earlier", 12, 3)
    assert outbox.counts() == Counts(0, 0, 0, 0, 0, 0, 0, before=12, before_dead=3)
    assert outbox.seed("") == "drawn earlier"
    outbox.look_from({(USERS, 0): 50})
    assert outbox.only_known(users)
    assert not outbox.is_new()
    assert outbox.cursor("tests", 10, "").page == 7


def test_each_source_has_a_seed_of_its_own_unless_one_is_wanted(path):
    outbox = Outbox(path)
    first = outbox.seed("", "127.0.0.1")
    other = outbox.seed("", "randomuser.me")
    assert first != other
    assert [outbox.seed("", host) for host in ("127.0.0.1", "randomuser.me")] == [first, other]
    assert outbox.seed("mine", "randomuser.me") == "mine"


def test_a_canary_waits_and_goes_as_a_row_and_is_counted_among_no_users(path, users):
    outbox = Outbox(path)
    outbox.keep(FIRST, users[:2], [])
    outbox.keep_canary(canary_of(1), TRACE)
    outbox.keep_canary(canary_of(2))
    assert outbox.counts() == Counts(2, 0, 0, 0, 0, 2, 0, canaries=2, waiting_canaries=2)
    assert [(row.trace, row.journey) for row in outbox.waiting(2, 9)] == [(TRACE, True), ("", False)]
    assert not outbox.only_known([canary_of(1)])
    gone = [row.acknowledged(0, row.seq) for row in outbox.waiting(0, 3)]
    outbox.acknowledge(gone)
    outbox.acknowledge(gone)
    assert outbox.counts() == Counts(2, 0, 0, 2, 0, 0, 0, canaries=2, acknowledged_canaries=1, waiting_canaries=1)


def test_rows_carry_their_pages_trace_and_journeys_are_known(path, users):
    Outbox(path).keep(FIRST, users[:2], [LETTER], TRACE, {users[1].user_id})
    rows = Outbox(path).waiting(0, 9)
    assert [(row.trace, row.journey) for row in rows] == [(TRACE, False), (TRACE, True), (TRACE, False)]


def test_a_page_that_is_refused_gives_its_room_back(path, users):
    outbox = Outbox(path)
    outbox.keep(FIRST, users, [])
    before = outbox.bytes_waiting()
    outbox._db.execute(f"PRAGMA max_page_count={outbox._db.execute('PRAGMA page_count').fetchone()[0]}")
    with pytest.raises(OutboxFull):
        outbox.keep(
            Cursor("tests", 2, 10), [structs.replace(user, user_id=str(uuid.uuid4())) for user in users], [LETTER]
        )
    assert outbox.bytes_waiting() == before == sum(len(row.value) for row in outbox.waiting(0, 99))


def test_a_file_of_format_1_goes_on_with_all_it_holds(of_format_1, users):
    with sqlite3.connect(of_format_1) as db:
        rows = db.execute("SELECT seq, topic, key, value, reason, fetch FROM outbox ORDER BY seq").fetchall()
    outbox = Outbox(of_format_1)
    assert [(r.seq, r.topic, r.key, r.value, r.reason, r.fetch) for r in outbox.waiting(0, 9)] == rows
    assert {(row.trace, row.journey) for row in outbox.waiting(0, 9)} == {("", False)}
    assert outbox.counts() == Counts(6, 1, 2, 1, 1, 2, 1)
    assert outbox.cursor("tests", 3, "").page == 3
    assert outbox.positions() == {(USERS, 0): 102, (DEAD_LETTERS, 0): 105}
    assert outbox.oldest_age_s() < 60
    outbox.keep(FIRST, users, [], TRACE)
    outbox.keep_canary(canary_of(1))
    outbox.close()
    again = Outbox(of_format_1)
    assert again.waiting(5, 99)[0].seq == 6
    again.acknowledge([again.waiting(0, 1)[0].acknowledged(0, 200)])
    assert again.counts() == Counts(16, 4, 2, 2, 1, 8, 1, canaries=1, waiting_canaries=1)


def test_a_file_of_format_1_that_cannot_be_brought_over_stays_as_it_was(of_format_1):
    with sqlite3.connect(of_format_1) as db:
        db.execute("INSERT INTO counts VALUES ('before_dead', 0)")  # so that the very last statement fails
    before = columns(of_format_1)
    with pytest.raises(OutboxDamaged, match="UNIQUE"):
        Outbox(of_format_1)
    assert columns(of_format_1) == before
    with sqlite3.connect(of_format_1) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (1,)


def test_counting_reads_no_row_and_needs_no_more_than_a_look(path, users):
    outbox = Outbox(path)
    outbox.keep(FIRST, users, [LETTER])
    outbox.keep_canary(canary_of(1))
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        assert read_counts(db) == outbox.counts()
        plan = [row[-1] for row in db.execute(f"EXPLAIN QUERY PLAN {COUNT}", (DEAD_LETTERS, USERS))]
    of_rows = [step for step in plan if " outbox" in step]
    assert len(of_rows) == 3
    assert all("USING COVERING INDEX outbox_by_kind" in step for step in of_rows)


def test_the_oldest_rows_age_is_that_of_the_first_that_waits(path, users):
    outbox = Outbox(path)
    assert outbox.oldest_age_s() == 0
    outbox.keep(FIRST, users, [])
    outbox._db.execute("UPDATE outbox SET kept_at=kept_at-100 WHERE seq <= 2")
    assert 100 <= outbox.oldest_age_s() < 160
    outbox.acknowledge([row.acknowledged(0, row.seq) for row in outbox.waiting(0, 2)])
    assert outbox.oldest_age_s() < 60


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
