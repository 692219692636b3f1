"""A clock can be moved where it was asked for, and nowhere else; what is missing for it is told before a start."""

import sys

from engines import clocks, programs
from engines.programs import EMBEDDED


def commands(config, state) -> dict[str, tuple[str, ...]]:
    return {one.name: one.command for one in programs.programs(config, state, "/java", EMBEDDED)}


def test_a_program_with_a_clock_of_its_own_reads_it_from_a_file_and_the_others_do_not(configured, state):
    config = configured(VIGIE_CLOCKS="ingest", VIGIE_WIRES="1")
    clocks.prepare(config, state)
    found = commands(config, state)
    assert found["ingest"][-3:] == ("-m", "engines.clocked", "services.ingest")
    assert f"FAKETIME_TIMESTAMP_FILE={clocks.file(state, 'ingest')}" in found["ingest"]
    assert any(word.startswith("VIGIE_KAFKA_BOOTSTRAP=") for word in found["ingest"])
    assert clocks.file(state, "ingest").read_text() == "+0\n"
    assert [name for name, words in found.items() if "engines.clocked" in words] == ["ingest"]


def test_without_clocks_nothing_is_preloaded_and_nothing_is_needed(configured, state):
    config = configured()
    assert commands(config, state)["ingest"] == (sys.executable, "-m", "services.ingest")
    assert clocks.problems(config) == []


def test_that_the_library_is_missing_is_told_with_how_to_get_it(configured, monkeypatch):
    monkeypatch.setattr(clocks, "PLACES", ("/nowhere",))
    assert "apt install faketime" in clocks.problems(configured(VIGIE_CLOCKS="ingest"))[0]
