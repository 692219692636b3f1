"""A few drills on the running system, as an operator runs them: each ends with a verdict, and leaves its report."""

import json
import os
import signal
import subprocess
import sys

import pytest

from chaos import evidence, keep
from observability import settings
from spark.contract import DATABASE, USERS

pytestmark = [pytest.mark.engines, pytest.mark.timeout(800)]  # of a slow machine, and with the start of its system

RECOVER_S = 30  # the bound of both
MAY = ("late", "nobody who was fetched")  # what a machine does that is too busy
SHORT = {"broker-kill": "BrokerDown", "api-limits": "SourceLimited"}


def test_between_drills_only_who_is_new_is_read_unless_the_store_counts_others(stack, monkeypatch):
    whole: list[int] = []

    def counted(wanted: evidence.Settings) -> list[evidence.Document]:
        whole.append(1)
        return of_all(wanted)

    of_all = evidence.stored
    monkeypatch.setattr(evidence, "stored", counted)
    wanted = settings.read(evidence.Settings, settings.environ(stack.env))
    first = evidence.collect(wanted)
    stack.grown("stored", 50)
    second = evidence.collect(wanted, known=first.documents)
    assert len(whole) == 1
    assert first.stored.keys() < second.stored.keys()
    assert second.must <= second.stored.keys()
    assert {*second.stored.values()} == {1}
    with stack.mongo() as client:
        users = client[DATABASE][USERS]
        lost = users.find_one()
        users.delete_one({"_id": lost["_id"]})
        third = evidence.collect(wanted, known=second.documents)
        users.insert_one(lost)
        users.insert_one(lost | {"_id": "made-up"})
        fourth = evidence.collect(wanted, known=second.documents)
        users.delete_one({"_id": "made-up"})
    assert len(whole) == 3
    assert second.stored.keys() - third.stored.keys() == {lost["_id"]}
    assert fourth.stored.keys() - fourth.served == {"made-up"}


def test_short_drills_pass_and_leave_journal_report_and_history(stack):
    """
    Another system runs beside this one, on the same cores: a drill gets three times its bound on recovery.

    Not the first of the file: alerts can fire once Prometheus has run for two minutes, and a drill waits for that.
    """
    done = stack.run("chaos", *SHORT, timeout_s=450)
    print(done.stdout)
    lines = [json.loads(line) for line in (stack.state.root / "drills" / keep.HISTORY).read_text().splitlines()]
    told = {line["name"]: line for line in lines}
    assert {name: told[name]["seen"] for name in SHORT} == SHORT
    if any(line["failed"] for line in told.values()):
        print(done.stderr, stack.ends_of_logs())
    for line in told.values():
        assert [one for one in line["failed"] if not one.startswith(MAY)] == [], line
        assert line["recover_s"] is not None, line
        assert line["recover_s"] < 3 * RECOVER_S, line
        assert (line["lost"], line["doubled"], line["wrong"]) == (0, 0, 0)
        report = stack.state.root / "drills" / line["report"]
        assert "<polyline" in report.read_text()
        journal = json.loads(report.with_suffix(".json").read_text())
        assert {"alerts", "told", "metrics", "mongodb", "cassandra", "page"} <= {note[1] for note in journal["notes"]}


@pytest.mark.long
def test_a_drill_that_is_interrupted_leaves_everything_running(stack):
    process = subprocess.Popen(
        [sys.executable, "-m", "chaos", "mongodb-kill"], env=stack.env, stdout=subprocess.PIPE, text=True
    )
    try:
        stack.until(lambda: stack.pid("documents") == 0, limit_s=150)
        os.kill(process.pid, signal.SIGINT)
        said, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 1, said
    assert "everything is as it was" in said
    stack.until(lambda: stack.pid("documents") != 0, limit_s=10)
    stack.grown("stored", 50)
    stack.audit()
