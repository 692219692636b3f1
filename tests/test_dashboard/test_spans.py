"""Time ranges: what they are called, how long they are, and what comes before them."""

from datetime import UTC, date, datetime, timedelta

import pytest

from dashboard import spans
from dashboard.spans import Span, span

NOW = datetime(2026, 11, 24, 0, 30, 7, tzinfo=UTC)
TODAY = datetime(2026, 11, 24, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("name", "first", "last", "days"),
    [
        ("today", TODAY, TODAY + DAY, 1),
        ("yesterday", TODAY - DAY, TODAY, 1),
        ("7d", TODAY - 6 * DAY, TODAY + DAY, 7),
        ("30d", TODAY - 29 * DAY, TODAY + DAY, 30),
    ],
)
def test_a_range_is_whole_days_that_end_with_its_last(name, first, last, days):
    found = span(name, NOW)
    assert (found.first, found.last, len(list(found.days()))) == (first, last, days)
    assert found.before() == Span(first - days * DAY, first)


def test_the_last_hour_is_sixty_full_minutes_also_over_midnight():
    found = span("hour", NOW)
    assert (found.first, found.last, found.step) == (
        datetime(2026, 11, 23, 23, 30, tzinfo=UTC),
        datetime(2026, 11, 24, 0, 30, tzinfo=UTC),
        "minute",
    )
    assert list(found.days()) == [date(2026, 11, 23), date(2026, 11, 24)]
    assert list(found.before().days()) == [date(2026, 11, 23)]


def test_all_time_has_nothing_before_it():
    assert span("all", NOW).before() is None


def test_own_days_may_be_given_in_any_order_and_are_no_more_than_can_be_read_at_once():
    found = span("days", NOW, date(2026, 11, 3), date(2026, 11, 1))
    assert (found.first.date(), found.last.date()) == (date(2026, 11, 1), date(2026, 11, 4))
    assert len(list(span("days", NOW, date(2020, 1, 1), date(2026, 11, 1)).days())) == spans.LONGEST_DAYS
