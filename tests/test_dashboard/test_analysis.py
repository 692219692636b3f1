"""What the analysis shows of crossed counts, and the files that it gives."""

from datetime import UTC, date, datetime, timedelta
from io import BytesIO

import pytest
from pyarrow import csv, parquet

from dashboard import analysis
from dashboard.cross import Tally
from dashboard.spans import Slice, span

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
COUNTS = {
    ("Spain", "female", "100", "ES"): Tally(1, 101),
    ("Spain", "male", "30", "ES"): Tally(2, 70),
    ("France", "female", "30", "FR"): Tally(5, 150),
}
BEFORE = {("Spain", "male", "30", "ES"): Tally(4, 140), ("Iran", "male", "30", "IR"): Tally(4, 140)}


def test_rows_have_their_shares_now_and_before_and_also_who_has_gone():
    found = analysis.rows(COUNTS, BEFORE, ["country"])
    assert [(row.cell, row.now.users, row.share, row.before.users, row.share_before) for row in found] == [
        (("France",), 5, 0.625, 0, 0.0),
        (("Spain",), 3, 0.375, 4, 0.5),
        (("Iran",), 0, 0.0, 4, 0.5),
    ]


def test_ages_are_in_their_order_and_called_by_both_years():
    found = analysis.rows(COUNTS, {}, ["age", "gender"])
    assert [row.cell for row in found] == [("30", "female"), ("30", "male"), ("100", "female")]
    rows = analysis.chart_table(found, ["age", "gender"]).to_pylist()
    assert [(row["value"], row["column"], row["place"], row["column_place"]) for row in rows] == [
        ("30-39", "Female", 0, 0),
        ("30-39", "Male", 0, 1),
        ("100-109", "Female", 1, 0),
    ]


def test_the_table_has_the_comparison_only_where_there_is_one():
    found = analysis.rows(COUNTS, BEFORE, ["gender"])
    plain = analysis.shown_table(found, ["gender"], compared=False)
    assert plain.column_names == ["Gender", "Users", "Share", "Mean age"]
    assert plain.to_pylist()[0] == {"Gender": "Female", "Users": 6, "Share": 0.75, "Mean age": 251 / 6}
    compared = analysis.shown_table(found, ["gender"], compared=True).to_pylist()
    assert [row["Change in points"] for row in compared] == [75.0, -75.0]


def test_nobody_is_no_rows_and_divides_by_nothing():
    assert analysis.rows({}, {}, ["country", "age"]) == []
    assert analysis.chart_table([], ["country"]).num_rows == 0


def test_over_time_each_slice_has_the_largest_values_also_where_they_are_none():
    slices = (Slice(NOW, COUNTS), Slice(NOW + timedelta(days=1), BEFORE))
    rows = analysis.over_time(slices, "country").to_pylist()
    assert [(row["at"].day, row["value"], row["users"]) for row in rows] == [
        (24, "Spain", 3),
        (24, "France", 5),
        (24, "Iran", 0),
        (25, "Spain", 4),
        (25, "France", 0),
        (25, "Iran", 4),
    ]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("today", "24 Nov 2026"),
        ("7d", "18 Nov 2026 to 24 Nov 2026"),
        ("hour", "24 Nov 2026, 11:00 to 12:00 UTC"),
        ("all", "all time"),
    ],
)
def test_a_range_is_told_by_its_days(name, told):
    assert analysis.told(span(name, NOW)) == told
    assert analysis.told(span("days", NOW, date(2026, 11, 1), date(2026, 11, 1))) == "1 Nov 2026"


def test_both_files_hold_the_table():
    table = analysis.shown_table(analysis.rows(COUNTS, BEFORE, ["country", "age"]), ["country", "age"], compared=True)
    assert parquet.read_table(BytesIO(analysis.as_parquet(table))).equals(table)
    read = csv.read_csv(BytesIO(analysis.as_csv(table)))
    assert read.column_names == table.column_names
    assert read["Users"].to_pylist() == table["Users"].to_pylist()


def test_a_change_is_a_share_with_its_sign():
    assert [analysis.change(*users) for users in ((3, 2), (1, 2), (1, 0))] == ["+50.0%", "-50.0%", None]
