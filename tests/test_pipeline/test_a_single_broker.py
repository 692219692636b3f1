"""The light shape, for a laptop of 8 GB: one broker, small heaps, and the same promises; its wires can be cut."""

import json

import psutil
import pytest

from chaos import disk, wires

pytestmark = [pytest.mark.engines, pytest.mark.long, pytest.mark.timeout(400)]

LIGHT_BYTES = 3.5e9


@pytest.fixture(scope="module")
def light(launched):
    with launched(29000, VIGIE_BROKERS="1", VIGIE_SEED="light", VIGIE_WIRES="1") as stack:
        yield stack


def test_the_light_shape_fits_and_loses_nothing_when_its_one_broker_is_killed(light):
    before = light.pid("kafka-1")
    light.kill("kafka-1")
    light.until(lambda: light.pid("kafka-1") not in (0, before))
    light.grown("summed", 200)
    assert " 0 copies" in light.audit()["topic"]
    processes = json.loads(light.run("engines", "status", "--json").stdout)["processes"]
    assert [one["name"] for one in processes if one["name"].startswith("kafka")] == ["kafka-1"]
    assert sum(one["memory"] for one in processes) < LIGHT_BYTES


def test_slow_reset_and_parted_wires_and_a_full_disk_lose_nothing(light):
    api = f"http://127.0.0.1:{light.env['VIGIE_WIRES_PORT']}"
    with pytest.raises(wires.NoWires, match="spark-mongodb"):
        wires.slow(api, ["nowhere"], 1)
    wires.slow(api, ["ingest", "spark"], 500)
    wires.reset(api, ["ingest", "spark"], 0.05)
    light.grown("summed", 100)
    wires.mend(api)
    assert wires.part(api, ["ingest-kafka"]) == ["ingest-kafka-1"]
    light.grown("outbox", 200)
    wires.mend(api)
    wires.cut(api, ["spark"])
    light.grown("on_topic", 200)
    wires.mend(api)
    if hasattr(psutil, "RLIMIT_FSIZE"):  # Linux
        ingest = disk.fill(light.state)
        light.until(lambda: "fetching pauses: no room in the outbox" in light.log("ingest"))
        assert (disk.is_full(light.state), disk.clear(light.state)) == (True, ingest)
    light.grown("summed", 200)
    assert " 0 copies" in light.audit()["topic"]
