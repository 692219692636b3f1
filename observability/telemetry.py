"""
Everything that makes a process seen, started in one call; and `python -m observability.telemetry`, which writes
docs/telemetry.md from `observability.names` and the rules.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import msgspec
import yaml

from observability import logs, metrics, names, settings, tracing

RULES = settings.ROOT / "observability" / "prometheus" / "rules"


@dataclass(frozen=True)
class Settings:
    """Where spans go."""

    host: str
    otlp_endpoint: str


def start(service: str, env: Mapping[str, str]) -> None:
    """
    Start logs, metrics (on VIGIE_<SERVICE>_METRICS_PORT) and traces of this process.

    Raises:
        WrongSetting: the port is none.
    """
    wanted = settings.read(Settings, env)
    key = f"VIGIE_{service.upper()}_METRICS_PORT"
    try:
        port = msgspec.convert(env.get(key, "0"), int, strict=False)
    except msgspec.ValidationError as error:
        raise settings.WrongSetting(f"{key}={env[key]!r}: {error}") from error
    repeats = logs.start(service)
    metrics.read_at_scrape(lambda: of_logs(repeats))
    metrics.read_at_scrape(lambda: [(names.CLOCK, {}, time.time())])
    metrics.serve(service, wanted.host, port, env)
    tracing.start(service, wanted.otlp_endpoint)


def of_logs(repeats: logs.Repeats) -> Iterator[metrics.Sample]:
    for (level, written), n in list(repeats.counted.items()):
        yield names.LOG_LINES, {"level": level, "written": written}, n


def document() -> str:
    """docs/telemetry.md: every metric, label, recorded series, span and attribute of our own."""
    lines = [
        "# Telemetry",
        "",
        "Written from `observability/names.py` and `observability/prometheus/rules` by "
        "`.venv/bin/python -m observability.telemetry`; a test holds it to that.",
        "",
        "## Metrics",
        "",
        "Counters end with `_total`; the unit is the end of the name. Others have names of their own beside these: the "
        "brokers' and Cassandra's agents (all in `engines/kafka/jmx.yaml` and `engines/cassandra/jmx.yaml`), Spark's "
        "page, Jaeger's counts of spans (`traces_span_metrics_…`) and the watchers.",
        "",
        "| metric | kind | what it says | labels |",
        "|---|---|---|---|",
    ]
    for one in names.METRICS:
        labels = "<br>".join(f"`{name}`: {says}" for name, says in one.labels.items())
        lines.append(f"| `{one.name}` | {one.kind} | {one.help} | {labels} |")
    lines += ["", "## Recorded series", "", "Computed by Prometheus; the rules' comments and slo.md say how.", ""]
    lines += ["| series | rules | computed every |", "|---|---|---|"]
    lines += [f"| `{name}` | {file} | {every} |" for name, file, every in recorded()]
    lines += ["", "## Spans", "", "| span | kind | what it covers | attributes |", "|---|---|---|---|"]
    for span in names.SPANS_NAMED:
        attributes = ", ".join(f"`{name}`" for name in span.attributes)
        lines.append(f"| `{span.name}` | {span.kind} | {span.covers} | {attributes} |")
    lines += ["", "## Attributes", "", "| attribute | value |", "|---|---|"]
    lines += [f"| `{name}` | {value} |" for name, value in names.ATTRIBUTES.items()]
    return "\n".join(lines) + "\n"


def recorded() -> Iterator[tuple[str, str, str]]:
    """Every series that the rules record: its name, their file, how often."""
    for file in sorted(RULES.glob("*.yml")):
        for group in yaml.safe_load(file.read_text())["groups"]:
            for rule in group["rules"]:
                if "record" in rule:
                    yield rule["record"], file.name, group["interval"]


def main() -> int:
    argparse.ArgumentParser(prog="python -m observability.telemetry", description=__doc__).parse_args()
    (settings.ROOT / "docs" / "telemetry.md").write_text(document())
    return 0


if __name__ == "__main__":
    sys.exit(main())
