"""A run is kept, read back, reported and compared."""

import json
from datetime import UTC, datetime

import msgspec
import pytest

from bench import comparison, report, result
from bench.figures import FASTER, NOISE, SLOWER
from bench.result import OURS, NoResult, Result, Sample

BEGAN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def run(samples: list[Sample], **changed) -> Result:
    made = Result(
        result.FORMAT, BEGAN, False, {"processors": "2"}, {"vigie": "abc"}, {"VIGIE_BROKERS": "3"}, 0.5, samples
    )
    return msgspec.structs.replace(made, **changed)


def drained(subject: str, *values: float, unit: str = "users/s", metric: str = "drained") -> list[Sample]:
    return [Sample("raw", subject, metric, unit, value, n) for n, value in enumerate(values)]


RUN = run(drained(OURS, 2000, 2100, 1900) + drained("plain", 1000, 1050, 950) + drained("limit: <parts>", 4000))


def test_a_result_is_read_back_as_it_was_kept(tmp_path):
    assert result.load(result.written(RUN, tmp_path / "new")) == RUN


def test_a_result_is_json_that_any_tool_reads(tmp_path):
    kept = json.loads(result.written(RUN, tmp_path).read_text())
    assert kept["samples"][0] == {
        "what": "raw",
        "subject": OURS,
        "metric": "drained",
        "unit": "users/s",
        "value": 2000.0,
        "round": 0,
        "case": "",
    }


@pytest.mark.parametrize("text", ["", "{}", '{"format": 1}', json.dumps(msgspec.to_builtins(run([], format=1)))])
def test_what_is_no_result_is_refused_in_a_sentence(tmp_path, text):
    file = tmp_path / "some.json"
    file.write_text(text)
    with pytest.raises(NoResult, match=r"some\.json"):
        result.load(file)


def test_a_result_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(NoResult):
        result.load(tmp_path / "none.json")


def test_the_report_has_medians_spreads_and_how_many_times_ours_is():
    lines = report.markdown(RUN).splitlines()
    assert "| plain | drained | 1,000 users/s | 950 to 1,050 | 3 | 2.00 (2.00 to 2.00) |" in lines
    assert "| limit: <parts> | drained | 4,000 users/s | 4,000 to 4,000 | 1 | 0.50 |" in lines


def test_the_page_draws_a_bar_for_each_subject_and_a_dot_for_each_sample():
    page = report.html(RUN)
    assert page.count("<rect") == 3 + 7
    assert "limit: &lt;parts&gt;" in page
    assert "limit: <parts>" not in page


def test_the_report_says_what_could_not_run_and_that_a_short_form_proves_nothing():
    text = report.markdown(run(drained(OURS, 1), short=True, absent={"Quix Streams": "not installed"}))
    assert "Not run, or not to its end: Quix Streams: not installed." in text
    assert "no figure" in text


def test_a_comparison_tells_faster_slower_and_noise():
    before = run(
        drained(OURS, 1000, 1010, 990)
        + drained(OURS, 100, 101, 99, unit="us/user", metric="processor time")
        + drained("plain", 1000, 1300, 700)
        + drained("machine", 1000, 1010, 990)
        + drained("two samples", 1000, 1000)
        + drained("gone", 1, 2)
    )
    now = run(
        drained(OURS, 1500, 1510, 1490)
        + drained(OURS, 150, 151, 149, unit="us/user", metric="processor time")
        + drained("plain", 1050, 1400, 800)
        + drained("machine", 1080, 1090, 1070)
        + drained("two samples", 2000, 2000)
        + drained("new", 1, 2)
    )
    said = {(one.subject, one.metric): one.verdict for one in comparison.compared(now, before)}
    assert said == {(OURS, "drained"): FASTER, (OURS, "processor time"): SLOWER} | {
        (of, "drained"): NOISE for of in ("plain", "machine", "two samples")
    }


def test_a_comparison_names_what_else_differs():
    other = run([], short=True, versions={"vigie": "abc", "pyspark": "4.2.0"}, settings={"VIGIE_BROKERS": "1"})
    assert comparison.differences(other, RUN) == [
        "one of the runs is the short form",
        "pyspark: none → 4.2.0",
        "VIGIE_BROKERS: 3 → 1",
    ]


def test_the_report_holds_the_comparison():
    assert "| raw, limit: <parts>, drained | 4,000 users/s | 4,000 users/s | 1.00 | noise |" in report.markdown(
        RUN, RUN
    )


def test_a_ratio_is_of_the_rounds_that_both_have():
    ours, theirs = drained(OURS, 100, 1000, 1000), drained("peer", 100, 500, 500)
    lost = [one for one in theirs if one.round]
    assert report.row(lost, ours)[-1] == "2.00 (2.00 to 2.00)"
    assert report.row(theirs[:1], ours)[-1] == "1.00"
