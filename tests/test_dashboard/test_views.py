from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from dashboard import charts, views
from dashboard.cross import Tally
from dashboard.queries import Count, Newest, NewUser, Sums, Totals
from dashboard.stores import Down

NOW = datetime(2026, 11, 24, 12, 3, 8, 400_000, tzinfo=UTC)
PARIS = ZoneInfo("Europe/Paris")
EMPTY = Sums(Totals(), Totals(), {}, None)
DOWN = Down("Cassandra", "127.0.0.1:9042", "no answer within 2 s", NOW - timedelta(minutes=1))


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def sums(newest: datetime | None = None, minutes: dict[datetime, int] | None = None) -> Sums:
    return Sums(Totals(3, 100), Totals(), minutes or {}, newest)


def newest(*ages: float) -> Newest:
    return Newest(tuple(NewUser("Ana L.", "Spain", "female", 41, ago(s), ago(s - 0.5)) for s in ages))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0.0 s"),
        (1.45, "1.4 s"),
        (59.99, "59.9 s"),
        (60, "1 min 0 s"),
        (3599, "59 min 59 s"),
        (11400, "3 h 10 min"),
        (187200, "2 d 4 h"),
    ],
)
def test_an_age_is_told_in_the_units_that_matter(seconds, text):
    assert views.age(ago(seconds), NOW) == text


def test_a_fresh_reading_says_as_of_when_on_the_viewers_clock():
    badge = views.badge("Sums", sums(ago(1.4)), NOW, PARIS)
    assert (badge.text, badge.colour) == ("Sums as of 13:03:07, 1.4 s ago", "green")
    assert views.stale(sums(ago(1.4)), NOW, PARIS) is None


def test_a_reading_is_stale_after_thirty_seconds_and_says_since_when():
    assert views.badge("Users", newest(30), NOW, UTC).colour == "green"
    badge = views.badge("Users", newest(31, 40), NOW, UTC)
    assert (badge.text, badge.colour) == ("Users: nothing newer than 12:02:37, 31.0 s ago", "orange")
    assert views.stale(newest(31), NOW, UTC) == (
        "No new user since 12:02:37, 31.0 s ago: are ingest and the raw lane running? `make status` tells."
    )


@pytest.mark.parametrize("reading", [EMPTY, Newest(())])
def test_an_empty_store_is_told_from_a_stale_one(reading):
    badge = views.badge("Users", reading, NOW, UTC)
    assert (badge.text, badge.colour) == ("Users: no users yet", "gray")
    assert views.stale(reading, NOW, UTC) is None


def test_a_store_that_is_down_is_named_with_its_address_and_since_when():
    assert views.badge("Sums", DOWN, NOW, UTC).text == "Sums: Cassandra unavailable since 12:02:08"
    assert views.outage(DOWN, UTC).startswith(
        "**Cassandra** at 127.0.0.1:9042 is unavailable since 12:02:08: no answer within 2 s. It is asked again"
    )


def test_the_mean_age_is_the_sum_by_the_users_and_unknown_without_users():
    assert views.mean_age(Totals(users=3, age_sum=100)) == "33.33 years"
    assert views.mean_age(Totals()) == views.UNKNOWN


def test_the_hour_has_sixty_minutes_with_zeros_and_the_last_one_runs():
    minute = NOW.replace(second=0, microsecond=0)
    reading = sums(NOW, {minute: 7, minute - timedelta(minutes=1): 9, minute - timedelta(minutes=59): 1})
    rows = views.minutes_table(reading, NOW).to_pylist()
    assert [row["users"] for row in rows] == [1, *[0] * 57, 9, 7]
    assert [row["state"] for row in rows] == [*["full"] * 59, "running"]
    assert views.last_full_minute(reading, NOW) == 9
    assert views.last_full_minute(EMPTY, NOW) == 0


def test_shares_are_of_the_total_and_labelled():
    rows = views.shares_table([Count("Spain", 1500), Count("France", 500)], 2000).to_pylist()
    assert [row["label"] for row in rows] == ["1,500 · 75.0%", "500 · 25.0%"]
    assert [row["place"] for row in rows] == [0, 1]


def test_the_countries_that_do_not_fit_are_one_line():
    many = tuple(Count(f"c{n}", 100) for n in range(views.COUNTRIES + 3))
    assert views.others(many, 2400) == "and 3 others: 300 · 12.5%"
    assert views.others(many[: views.COUNTRIES], 2100) is None


def test_a_band_without_users_between_two_others_is_shown():
    bands = views.age_bands(Totals(ages=(Count("20", 3), Count("40", 1))))
    assert bands == (Count("20-29", 3), Count("30-39", 0), Count("40-49", 1))
    assert views.age_bands(Totals()) == ()


def test_the_newest_users_have_no_column_but_these():
    table = views.newest_table(newest(2.0), NOW)
    assert table.to_pylist() == [
        {
            "Name": "Ana L.",
            "Country": "Spain",
            "Gender": "Female",
            "Age": 41,
            "Fetched": "2.0 s ago",
            "Stored after": "0.5 s",
        }
    ]


def test_a_charts_specification_holds_no_data_so_that_new_data_mounts_no_new_chart():
    specs = (
        charts.minutes(),
        charts.shares(3),
        charts.world(),
        charts.pyramid(3),
        charts.grouped(3, 2),
        charts.heat(3, wide=True),
        charts.change(3),
        charts.timeline("%H:%M", 60_000),
    )
    for spec in specs:
        assert "data" not in spec
        assert "datasets" not in spec


def test_a_trend_is_the_share_more_or_fewer_and_nothing_where_nobody_was_before():
    assert [views.trend(*users, "than before") for users in ((12, 10), (5, 10), (10, 10), (7, 0))] == [
        ("+20.0%", "than before"),
        ("-50.0%", "than before"),
        ("+0.0%", "than before"),
        None,
    ]


def test_the_hour_is_compared_with_the_hour_before_it():
    minute = NOW.replace(second=0, microsecond=0)
    reading = sums(NOW, {minute - timedelta(minutes=back): 1 for back in range(120)})
    assert [views.full_minutes(reading, NOW, 59, before) for before in (0, 59)] == [59, 59]


CROSSED = {
    ("Spain", "female", "20", "ES"): Tally(3, 70),
    ("Spain", "male", "40", "ES"): Tally(1, 41),
    ("Atlantis", "female", "20", "AT"): Tally(1, 25),
}
TOTALS = Totals(users=6, countries=(Count("Spain", 4), Count("Atlantis", 2)), crossed=CROSSED)


def test_the_pyramid_has_women_to_the_left_and_every_band_between_the_oldest_first():
    rows = views.pyramid_table(TOTALS).to_pylist()
    assert [(row["age"], row["gender"], row["signed"]) for row in rows] == [
        ("40-49", "Female", 0),
        ("40-49", "Male", 1),
        ("30-39", "Female", 0),
        ("30-39", "Male", 0),
        ("20-29", "Female", -4),
        ("20-29", "Male", 0),
    ]
    assert views.pyramid_table(Totals()).num_rows == 0


def test_who_is_not_on_the_map_or_was_not_crossed_is_counted_in_words():
    assert views.map_table(TOTALS).column("country").to_pylist() == ["Spain"]
    assert views.off_the_map(TOTALS) == "2 users are of countries that the map does not have."
    assert views.uncrossed(TOTALS) == "1 users were summed before ages were counted by gender: `make rebuild`."
    assert views.uncrossed(Totals(users=5, crossed=CROSSED)) is None
