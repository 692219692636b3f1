"""Sums of users counted alike: any two dimensions, any filter, and nobody lost."""

from hypothesis import given
from hypothesis import strategies as st

from dashboard.cross import Tally, added, by, parted, picked, whole

CELLS = st.tuples(
    st.sampled_from(["Spain", "Côte|d'Ivoire", "France"]),
    st.sampled_from(["female", "male"]),
    st.sampled_from(["20", "30", "100"]),
    st.sampled_from(["ES", "FR"]),
)
COUNTS = st.dictionaries(CELLS, st.builds(Tally, st.integers(1, 9), st.integers(0, 900)), max_size=12)


@given(CELLS)
def test_a_value_is_parted_as_it_was_joined(cell):
    assert parted("|".join(cell)) == cell


@given(COUNTS, st.permutations(["country", "gender", "age", "nationality"]), st.integers(0, 4))
def test_whatever_is_asked_for_everybody_is_in_it_once(counts, names, n):
    found = by(counts, *names[:n])
    assert (sum(t.users for t in found.values()), sum(t.ages for t in found.values())) == tuple(whole(counts))


@given(COUNTS, COUNTS)
def test_periods_are_added(one, other):
    assert whole(added([one, other])) == whole(one).plus(whole(other))


def test_a_filter_lets_its_values_through_and_an_empty_one_all():
    counts = {("Spain", "female", "20", "ES"): Tally(3, 60), ("France", "male", "30", "FR"): Tally(1, 30)}
    assert by(picked(counts, {"country": ["France"], "gender": []}), "age") == {("30",): Tally(1, 30)}
    assert picked(counts, {"age": ["20"], "gender": ["male"]}) == {}
    assert picked(counts, {}) == counts
