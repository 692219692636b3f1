"""The drills page over files as `make drill` writes them, and the button that runs one."""

import json
import sys
import time

import pytest
from streamlit.testing.v1 import AppTest

from chaos import catalogue, keep
from dashboard import app, drills, history, runner
from dashboard.runner import Busy, Runner


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The state folder's `drills/`."""
    monkeypatch.setenv("VIGIE_STATE", str(tmp_path))
    made = tmp_path / "drills"
    made.mkdir()
    return made


@pytest.fixture
def page():
    def shown() -> AppTest:
        found = AppTest.from_file(app.__file__, default_timeout=20).run().switch_page(drills.__file__).run()
        assert not found.exception
        return found

    return shown


def line(name: str, verdict: str = "PASS", hour: int = 1, **more) -> dict:
    told = {"at": f"2026-11-25T0{hour}:00:00+00:00", "name": name, "verdict": verdict, "title": name, "failed": []}
    told |= {"number": 1, "lost": 0, "doubled": 0, "phantom": 0, "wrong": 0, "seen": "BrokerDown", "detect_s": 24.4}
    return told | {"recover_s": 4.8, "cleared_s": 9.4, "report": f"{hour}-{name}.html"} | more


def write(folder, *lines: dict) -> None:
    (folder / keep.HISTORY).write_text("".join(json.dumps(one) + "\n" for one in lines))


def test_the_file_is_the_one_that_drills_write():
    assert keep.HISTORY == history.FILE
    assert {"at", "name", "number", "title", "verdict", "lost", "report"} <= set(
        keep.__doc__ and keep.__doc__.split('"')
    )


def test_the_drills_that_can_be_run_are_those_of_make_drill():
    ours = {(one.name, one.title) for one in history.experiments(drills.EXPERIMENTS)}
    assert ours == {(one.name, one.title) for one in catalogue.everything()}


def test_no_drill_yet_is_told_in_words(folder, page):
    assert page().info[0].value == drills.NONE_YET


def test_the_latest_verdicts_stand_there_what_failed_on_top(folder, page):
    failed = line("api-down", "FAIL", 2, failed=["late: 73 s"], lost=3)
    write(folder, line("api-down"), line("broker-kill", hour=1), failed)
    shown = page()
    assert [metric.value for metric in shown.metric][:3] == ["1 of 2", "3", "4.8 s"]
    table = shown.table[0].value
    assert list(table["Drill"]) == ["**api-down**", "**broker-kill**"]
    assert "FAIL" in table["Verdict"][0]
    assert list(table["Lost"]) == [":red[**3**]", ":green[0]"]
    assert table["What"][0] == r"late\: 73 s"
    assert len(shown.get("vega_lite_chart")) == 1


def test_a_drill_that_was_stopped_and_a_half_written_line_are_no_error(folder, page):
    stopped = {key: line("disk-full", "STOPPED")[key] for key in ("at", "name", "number", "title", "verdict", "failed")}
    write(folder, stopped)
    with (folder / history.FILE).open("a") as file:
        file.write('{"at": "2026-11-25T0')
    shown = page()
    assert "STOPPED" in shown.table[0].value["Verdict"][0]
    assert "No drill has been measured yet." in [caption.value for caption in shown.caption]


def test_a_report_is_shown_only_if_it_is_in_the_folder(folder, page):
    (folder / "1-broker-kill.html").write_text("<h1>All well</h1>")
    (folder.parent / "secret.html").write_text("secret")
    write(folder, line("broker-kill"), line("other", report="../secret.html"), line("gone", report="gone.html"))
    shown = page()
    assert shown.selectbox(key="drills-report").options == ["2026-11-25 01:00  broker-kill  PASS"]
    shown = shown.selectbox(key="drills-report").select_index(0).run()
    assert not shown.exception
    assert len(shown.get("iframe")) == 1


def test_one_drills_recovery_times_are_a_line(folder, page):
    write(folder, *(line("broker-kill", hour=hour, recover_s=hour) for hour in range(1, 5)))
    shown = page().selectbox(key="drills-name").set_value("broker-kill").run()
    assert not shown.exception
    assert len(shown.get("vega_lite_chart")) == 1


def test_without_the_setting_there_is_no_button(folder, page):
    shown = page()
    assert not [button for button in shown.button if button.key == "drills-run"]
    assert drills.NO_BUTTON in [caption.value for caption in shown.caption]


def test_with_the_setting_a_drill_runs_one_at_a_time_and_is_logged(folder, monkeypatch):
    monkeypatch.setenv("VIGIE_DRILL_BUTTON", "1")
    words = "import sys, time; print('breaking', sys.argv[1], flush=True); time.sleep(60)"
    made = Runner(folder, (sys.executable, "-c", words))
    monkeypatch.setattr(drills, "runs", lambda: made)
    logged = []
    monkeypatch.setattr(runner.log, "warning", lambda event, **fields: logged.append((event, fields)))
    shown = AppTest.from_string("from dashboard import drills\ndrills.main()", default_timeout=20).run()
    assert shown.button(key="drills-run").disabled
    shown.selectbox(key="drills-pick").set_value("broker-kill").run()
    shown.checkbox(key="drills-sure").check().run()
    shown.button(key="drills-run").click().run()
    assert not shown.exception
    try:
        with pytest.raises(Busy, match="broker-kill"):
            made.start("api-down", "somebody else")
        ends = time.monotonic() + 10
        while "breaking broker-kill" not in shown.run().code[0].value:
            assert time.monotonic() < ends
        assert shown.button(key="drills-run").disabled
        shown.button(key="drills-stop").click().run()
        assert made.last.process.wait(10) != 0
    finally:
        made.last.process.kill()
        made.last.process.wait()
    assert shown.run().button(key="drills-stop").disabled
    assert [event for event, _ in logged] == ["a drill was started from the page", "a drill was stopped from the page"]
    assert logged[0][1]["drill"] == "broker-kill"
    assert logged[0][1]["who"]
    made.start("api-down", "me")
    made.last.process.kill()
    made.last.process.wait()
