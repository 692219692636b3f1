"""A few drills on the running system, as an operator runs them: each ends with a verdict, and leaves its report."""

import json
import os
import signal
import subprocess
import sys

import pytest

from chaos import keep

pytestmark = [pytest.mark.engines, pytest.mark.timeout(800)]  # of a slow machine, and with the start of its system

RECOVER_S = 30  # the bound of both
MAY = ("late", "nobody who was fetched")  # what a machine does that is too busy
SHORT = {"broker-kill": "BrokerDown", "api-limits": "SourceLimited"}


def test_short_drills_pass_and_leave_journal_report_and_history(stack):
    """Another system runs beside this one, on the same cores: a drill gets three times its bound on recovery."""
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
