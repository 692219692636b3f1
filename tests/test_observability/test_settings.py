"""A setting comes from `.env`, the environment wins, and a wrong one is told by name."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import pytest
from msgspec import Meta

from observability import settings
from observability.settings import OVERRIDES, WrongSetting, environ, read


@dataclass(frozen=True)
class Wanted:
    rate: Annotated[float, Meta(ge=0)]
    state: Path
    master: str = field(metadata={"key": "SPARK_MASTER"})


def test_what_is_in_the_file_is_read_and_the_environment_wins():
    assert read(Wanted, environ({})).rate == 50
    assert read(Wanted, environ({"VIGIE_RATE": "7.5"})) == Wanted(7.5, settings.ROOT / ".vigie", "local[2]")


def test_what_make_up_was_started_with_stands_between_the_file_and_the_environment(tmp_path):
    (tmp_path / OVERRIDES).write_text("VIGIE_RATE='9'\nVIGIE_SEED='kept'\n")
    outer = {"VIGIE_STATE": str(tmp_path), "VIGIE_RATE": "3"}
    assert [environ(outer)[key] for key in ("VIGIE_RATE", "VIGIE_SEED")] == ["3", "kept"]
    assert environ(outer, running=False)["VIGIE_SEED"] == ""


def test_blank_addresses_follow_from_the_host_and_the_ports():
    env = environ({"VIGIE_HOST": "127.0.0.2", "VIGIE_KAFKA_PORT": "5000", "VIGIE_BROKERS": "2"})
    assert env["VIGIE_KAFKA_BOOTSTRAP"] == "127.0.0.2:5000,127.0.0.2:5001"
    assert environ({"VIGIE_KAFKA_BOOTSTRAP": "elsewhere:1"})["VIGIE_KAFKA_BOOTSTRAP"] == "elsewhere:1"


def test_a_file_of_ones_own_wins_line_by_line_and_knows_no_other_settings(tmp_path):
    own = tmp_path / "my.env"
    own.write_text("VIGIE_RATE=7\n")
    env = environ({"VIGIE_ENV_FILE": str(own)})
    assert (env["VIGIE_RATE"], env["VIGIE_SEED"]) == ("7", environ({})["VIGIE_SEED"])
    assert environ({"VIGIE_ENV_FILE": str(own), "VIGIE_RATE": "8"})["VIGIE_RATE"] == "8"
    own.write_text("VIGIE_RATE=7\nVIGIE_RAET=8\n")
    with pytest.raises(WrongSetting, match=r"my\.env: VIGIE_RAET: no such setting"):
        environ({"VIGIE_ENV_FILE": str(own)})


@pytest.mark.parametrize(
    ("outer", "named"),
    [
        ({"VIGIE_RAET": "5"}, "VIGIE_RAET"),
        ({"VIGIE_RATE": "fast"}, "VIGIE_RATE='fast'"),
        ({"VIGIE_RATE": "-1"}, "VIGIE_RATE='-1'"),
        ({"VIGIE_ENV_FILE": "/no/such/file"}, "/no/such/file"),
        ({"VIGIE_BROKERS": "three"}, "VIGIE_BROKERS"),
    ],
)
def test_a_wrong_setting_is_told_by_name(outer, named):
    with pytest.raises(WrongSetting, match=named):
        read(Wanted, environ(outer))


def test_a_setting_that_no_file_has_is_told_by_name():
    with pytest.raises(WrongSetting, match="VIGIE_RATE: not set"):
        read(Wanted, {})
