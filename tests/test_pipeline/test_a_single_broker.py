"""The light shape, for a laptop of 8 GB: one broker, small heaps, and the same promises."""

import json

import pytest

pytestmark = [pytest.mark.engines, pytest.mark.timeout(300)]

LIGHT_BYTES = 3.5e9


def test_the_light_shape_fits_and_loses_nothing_when_its_one_broker_is_killed(launched):
    with launched(29000, VIGIE_BROKERS="1", VIGIE_SEED="light") as stack:
        before = stack.pid("kafka-1")
        stack.kill("kafka-1")
        stack.until(lambda: stack.pid("kafka-1") not in (0, before))
        stack.grown("summed", 200)
        assert " 0 copies" in stack.audit()["topic"]
        processes = json.loads(stack.run("engines", "status", "--json").stdout)["processes"]
        assert [one["name"] for one in processes if one["name"].startswith("kafka")] == ["kafka-1"]
        assert sum(one["memory"] for one in processes) < LIGHT_BYTES
