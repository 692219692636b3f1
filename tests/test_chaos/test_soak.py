"""What grows is found, whose it is and by how much; a fault's peak, a start and a steady hum are no growth."""

import random

import pytest

from chaos import catalogue, soak
from chaos.soak import DISK, FILES, LAG, MEMORY, STATE, USERS, Sample

HUM = random.Random(1)


def life(what: str, of: str, begin: float, hours: float, start: float, an_hour: float, pid: int = 1) -> list[Sample]:
    """A program's samples: it grows up for 5 minutes, then hums, and grows so much an hour."""
    count = int(hours * 360)
    return [
        Sample(begin + 10 * n, what, of, pid, start * min(1.0, 0.5 + n / 60) + an_hour * n / 360 + HUM.uniform(-3, 3))
        for n in range(count)
    ]


def whole(users: float = 50.0, bytes_a_user: float = 9000.0, lag: float = 2.0) -> list[Sample]:
    found = []
    for n in range(360):
        at = 10.0 * n
        found += [
            Sample(at, USERS, "", 0, users * at),
            Sample(at, DISK, "", 0, 900 + users * at * bytes_a_user / 1e6),
            Sample(at, LAG, "", 0, 60.0 if n % 30 < 3 else lag),
            Sample(at, STATE, "", 0, 30.0),
        ]
    return found


def grown(found: list[Sample]) -> list[str]:
    return [one.wrong for one in soak.growths(found) if one.wrong]


def test_a_steady_system_with_faults_passes():
    steady = [*life(MEMORY, "spark", 0, 1, 1400, 5), *life(FILES, "spark", 0, 1, 300, 1), *whole()]
    assert soak.failures(steady, 3600, 50) == []


@pytest.mark.parametrize(
    ("planted", "sentence"),
    [
        ([*life(MEMORY, "ingest", 0, 1, 120, 90), *whole()], "ingest memory MB: +90"),
        ([*life(FILES, "exporter", 0, 1, 60, 240), *whole()], "exporter open files: +240"),
        (whole(bytes_a_user=60_000), "disk: 60,000 bytes a user"),
        (whole(lag=45), "lag: 45 s"),
    ],
    ids=["memory", "files", "disk", "lag"],
)
def test_what_grows_fails_by_its_name(planted: list[Sample], sentence: str):
    (found,) = soak.failures(planted, 3600, 50)
    assert found.startswith(sentence[:-2])


def test_each_life_of_a_program_is_looked_at_by_itself():
    lives = life(MEMORY, "ingest", 0, 0.5, 300, 0, pid=1) + life(MEMORY, "ingest", 1800, 0.5, 500, 0, pid=2)
    assert grown(lives) == []
    grows = life(MEMORY, "ingest", 0, 0.5, 300, 0, pid=1) + life(MEMORY, "ingest", 1800, 0.6, 500, 300, pid=2)
    assert "ingest memory" in grown(grows)[0]


def test_a_short_life_may_grow_in_its_own_time_what_a_long_one_may_in_an_hour():
    assert grown(life(MEMORY, "ingest", 0, 0.25, 300, 100)) == []
    restarted = [one for n in range(30) for one in life(MEMORY, "ingest", 1100 * n, 0.3, 300, 700, pid=n)]
    assert "ingest memory MB: +7" in grown(restarted)[0]


def test_a_step_is_no_growth_but_what_still_grows_in_the_later_half_is():
    step = [one._replace(value=one.value + 90 * (one.at > 1500)) for one in life(FILES, "spark", 0, 1, 450, 0)]
    assert grown(step) == []
    jump = [one._replace(value=one.value + 2400 * (one.at > 3000)) for one in life(MEMORY, "spark", 0, 1, 1400, 0)]
    assert "spark memory MB: +" in grown(jump)[0]
    late = [one._replace(value=one.value + max(0.0, one.at - 1500) / 10) for one in life(FILES, "spark", 0, 1, 450, 0)]
    assert "spark open files: +" in grown(late)[0]


def test_a_table_that_is_filled_for_the_first_time_is_no_growth_beyond_its_size():
    assert grown(life(MEMORY, "jaeger", 0, 1, 60, 45)) == []
    assert "jaeger memory MB: +9" in grown(life(MEMORY, "jaeger", 0, 1, 60, 95))[0]
    assert "auditor memory MB: +4" in grown(life(MEMORY, "auditor", 0, 1, 60, 45))[0]


UNSEEN = {
    "nothing": ([], "nothing could be measured"),
    "no lag": ([one for one in whole() if one.what != LAG], "lag s: measured 0 times of 120 in a third of the time"),
    "half a state": (
        [one for one in whole() if one.what != STATE or one.at < 1500],
        "state MB: measured 0 times of 120 in a third of the time",
    ),
    "few users": (whole(users=20.0), "users: 71,800 came, of some 180,000"),
    "no user": (whole(users=0.0), "users: 0 came, of some 180,000"),
    "a program that never lived": (
        [*whole(), *(one for n in range(8) for one in life(MEMORY, "spark", 400 * n, 0.1, 900, 0, pid=n))],
        "spark: not measured, it never ran for 10 minutes",
    ),
}


@pytest.mark.parametrize("planted", UNSEEN)
def test_what_could_not_be_measured_fails_by_its_name(planted: str):
    found, sentence = UNSEEN[planted]
    assert soak.failures(sorted(found), 3600, 50) == [sentence]


def test_a_sampler_that_ended_before_the_soak_did_is_told():
    said = soak.failures([one for one in whole() if one.at < 1300], 3600, 50)
    assert [one.split(":")[0] for one in said] == [STATE, DISK, LAG, USERS, "users"]


def test_a_soak_has_a_fault_every_few_minutes_within_its_time():
    parts = soak.plan(list(catalogue.everything()), 1, 5, 3)
    assert 9 <= len(parts) <= 12
    assert all(part.ends <= 3600 for part in parts)
    assert parts == soak.plan(list(catalogue.everything()), 1, 5, 3)


def test_the_curves_name_every_program_and_the_verdict():
    found = [*life(MEMORY, "ingest", 0, 1, 120, 90), *whole()]
    page = soak.html("A soak", found, [(600.0, 660.0)], "FAIL", soak.failures(found, 3600, 50))
    assert "FAIL" in page
    assert "ingest memory MB" in page
    assert "STOPPED" in soak.html("A soak", [], [], "STOPPED", ["interrupted"])
    assert "ingest: memory" in page
    assert "<script" not in page
