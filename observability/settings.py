"""
The environment, read once: settings come from `.env`, the environment wins over it, a wrong one stops the start.

    WrongSetting    a key is missing, unknown, or has a value that its type refuses
"""

import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import msgspec
from dotenv import dotenv_values

T = TypeVar("T")
ROOT = Path(__file__).resolve().parent.parent
MARK = "SUPERVISED_FOR_VIGIE"  # the state folder, in the environment of whatever its supervisor started
OVERRIDES = "overrides.env"  # in the state folder: what differed from `.env` when `make up` started the system


class WrongSetting(Exception):
    """A setting is missing, unknown or has the wrong type; the text names the key."""


def environ(outer: Mapping[str, str] | None = None, *, running: bool = True) -> dict[str, str]:
    """
    Return the whole environment: `.env`, over it what `make up` was started with, over it the caller's own variables.

    `VIGIE_ENV_FILE` names a file whose lines win over `.env`'s. With `running=False` what an earlier `make up` was
    started with is not looked at. Blank addresses are filled in from the host and the ports.

    Raises:
        WrongSetting: a file is missing, or something has a VIGIE_ setting that `.env` does not know.
    """
    outer = os.environ if outer is None else outer
    known = files(outer)
    unknown = sorted(key for key in outer if key.startswith("VIGIE_") and key not in {*known, "VIGIE_ENV_FILE"})
    if unknown:
        raise WrongSetting(f"{unknown[0]}: no such setting; the ones there are stand in {ROOT / '.env'}")
    state = Path(ROOT, outer.get("VIGIE_STATE", known["VIGIE_STATE"]))
    started = {key: value or "" for key, value in dotenv_values(state / OVERRIDES).items()} if running else {}
    merged = known | started | dict(outer)
    merged["VIGIE_STATE"] = str(state)
    return merged | _addresses(merged)


def files(outer: Mapping[str, str]) -> dict[str, str]:
    """
    The settings of `.env`, and over them those of the file that `outer` names by VIGIE_ENV_FILE.

    Raises:
        WrongSetting: a file is missing, or has a setting that `.env` does not know.
    """
    ours, own = ROOT / ".env", Path(outer.get("VIGIE_ENV_FILE", ROOT / ".env"))
    for file in (own, ours):
        if not file.is_file():
            raise WrongSetting(f"{file}: not there; VIGIE_ENV_FILE must name a file with lines like those of .env")
    known, changed = ({key: value or "" for key, value in dotenv_values(file).items()} for file in (ours, own))
    if unknown := sorted(changed.keys() - known.keys()):
        raise WrongSetting(f"{own}: {unknown[0]}: no such setting; the ones there are stand in {ours}")
    return known | changed


def _addresses(env: Mapping[str, str]) -> dict[str, str]:
    """The addresses that `.env` leaves blank, from the host and the ports."""
    host = env["VIGIE_HOST"]
    try:
        brokers = [f"{host}:{int(env['VIGIE_KAFKA_PORT']) + n}" for n in range(int(env["VIGIE_BROKERS"]))]
    except ValueError as error:
        raise WrongSetting(f"VIGIE_KAFKA_PORT, VIGIE_BROKERS: {error}") from error
    blanks = {
        "VIGIE_KAFKA_BOOTSTRAP": ",".join(brokers),
        "VIGIE_CASSANDRA_HOSTS": host,
        "VIGIE_MONGO_URI": f"mongodb://{host}:{env['VIGIE_MONGO_PORT']}",
        "VIGIE_SOURCE_URL": f"http://{host}:{env['VIGIE_SIMULATOR_PORT']}/api/",
        "VIGIE_OTLP_ENDPOINT": f"http://{host}:{env['VIGIE_OTLP_PORT']}",
        "VIGIE_SPARK_HOST": host,
    } | {
        f"VIGIE_{name}_URL": f"http://{host}:{env[f'VIGIE_{name}_PORT']}"
        for name in ("PROMETHEUS", "ALERTMANAGER", "GRAFANA", "JAEGER", "DASHBOARD")
    }
    return {key: value for key, value in blanks.items() if not env.get(key)}


def read(cls: type[T], env: Mapping[str, str]) -> T:
    """
    Build the frozen dataclass `cls` from `env`: field `rate` is read from VIGIE_RATE, or from its metadata's `key`.

    Raises:
        WrongSetting: the first key that is missing or has a value of the wrong type.
    """
    hints = get_type_hints(cls, include_extras=True)
    values: dict[str, Any] = {}
    for field in fields(cls):  # type: ignore[arg-type]
        key = field.metadata.get("key", f"VIGIE_{field.name.upper()}")
        if key not in env:
            raise WrongSetting(f"{key}: not set")
        try:
            values[field.name] = msgspec.convert(env[key], hints[field.name], strict=False, dec_hook=_path)
        except msgspec.ValidationError as error:
            raise WrongSetting(f"{key}={env[key]!r}: {error}") from error
    return cls(**values)


def _path(wanted: type, value: Any) -> Any:
    if wanted is Path:
        return Path(value)
    raise NotImplementedError(f"a setting cannot be a {wanted}")
