"""With VIGIE_WIRES each way of a program is a wire of its own; without, nothing is different from before."""

import json

from engines import brokers, preflight, programs, wires
from engines.programs import EMBEDDED


def commands(config, state) -> dict[str, tuple[str, ...]]:
    return {one.name: one.command for one in programs.programs(config, state, "/java", EMBEDDED)}


def test_without_wires_nobody_goes_another_way(configured, state):
    config = configured()
    text = brokers.properties(config, state, 1)
    assert wires.every(config) == ()
    assert "listeners=PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9192\n" in text
    assert "toxiproxy" not in commands(config, state)
    assert commands(config, state)["ingest"][1:] == ("-m", "services.ingest")


def test_a_broker_tells_who_comes_by_wire_the_beginning_of_that_wire(configured, state):
    config = configured(VIGIE_WIRES="1")
    lines = dict(line.split("=", 1) for line in brokers.properties(config, state, 2).splitlines() if "=" in line)
    there = dict(one.split("://127.0.0.1:") for one in lines["listeners"].split(","))
    told = dict(one.split("://127.0.0.1:") for one in lines["advertised.listeners"].split(","))
    ends = {one.name: (str(one.port), one.end.removeprefix("127.0.0.1:")) for one in wires.every(config)}
    assert (told["INGEST"], there["INGEST"]) == ends["ingest-kafka-2"]
    assert (told["SPARK"], there["SPARK"]) == ends["spark-kafka-2"]
    assert (told["PLAINTEXT"], there["PLAINTEXT"]) == ("9093", "9093")
    assert {"INGEST:PLAINTEXT", "SPARK:PLAINTEXT"} < set(lines["listener.security.protocol.map"].split(","))


def test_ingestion_spark_and_the_pages_take_their_wires_and_nobody_else(configured, state):
    config = configured(VIGIE_WIRES="1")
    begins = {one.name: one.port for one in wires.every(config)}
    found = {name: dict(word.split("=", 1) for word in line if word.startswith("VIGIE_"))
             for name, line in commands(config, state).items()}  # fmt: skip
    addresses = ",".join(f"127.0.0.1:{begins[f'ingest-kafka-{n}']}" for n in (1, 2, 3))
    assert found["ingest"] == {
        "VIGIE_KAFKA_BOOTSTRAP": addresses,
        "VIGIE_SOURCE_URL": f"http://127.0.0.1:{begins['ingest-source']}/api/",
    }
    assert found["spark"]["VIGIE_MONGO_URI"] == f"mongodb://127.0.0.1:{begins['spark-mongodb']}"
    assert found["dashboard"]["VIGIE_CASSANDRA_PORT"] == str(begins["dashboard-cassandra"])
    assert {name for name, told in found.items() if told} == {"ingest", "spark", "dashboard"}
    wires.prepare(config, state)
    assert {one["name"] for one in json.loads(wires.file(state).read_text())} == set(begins)


def test_what_is_not_ours_has_no_wire(configured, state):
    config = configured(
        VIGIE_WIRES="1",
        VIGIE_KAFKA_BOOTSTRAP="k:9092",
        VIGIE_CASSANDRA_HOSTS="c",
        VIGIE_SOURCE_URL="https://there/api/",
    )
    assert {one.name for one in wires.every(config)} == {"spark-mongodb", "dashboard-mongodb"}
    assert wires.by_wire(config, "ingest") == ("env",)


def test_no_two_wires_of_nine_brokers_share_a_port(configured, state):
    config = configured(VIGIE_WIRES="1", VIGIE_BROKERS="9")
    planned = [one for one in programs.programs(config, state, "/java", EMBEDDED) if one.family != programs.CASSANDRA]
    assert [one for one in preflight.asked_twice(planned) if wires.SETTING in one] == []
