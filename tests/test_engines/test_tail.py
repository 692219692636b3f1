"""The lines of one trace out of all logs."""

import json
import subprocess
import sys

from engines import tail

TRACE = "0af7651916cd43dd8448eb211c80319c"
OTHER = "1bf7651916cd43dd8448eb211c80319d"


def line(at: str, service: str, trace_id: str = TRACE, **fields: object) -> str:
    known = {"at": f"2026-11-24T12:00:{at}+00:00", "level": "info", "service": service, "hop": f"{service}.x"}
    return json.dumps(known | {"event": "done", "trace_id": trace_id, "span_id": "b7ad6b7169203331"} | fields) + "\n"


def test_a_traces_lines_are_in_the_order_of_time_from_every_log_and_from_rotated_ones(tmp_path):
    (tmp_path / "spark.log").write_text(line("03.000", "spark", batch=7) + "WARN not JSON " + TRACE + "\n")
    (tmp_path / "spark.log.1").write_text(line("01.500", "spark", batch=6))
    (tmp_path / "ingest.log").write_text(line("01.000", "ingest", page=3, users=100) + line("02.000", "ingest", OTHER))
    found = tail.of_trace(tmp_path, TRACE)
    assert [one.split()[:2] for one in found] == [
        ["2026-11-24T12:00:01.000+00:00", "ingest"],
        ["2026-11-24T12:00:01.500+00:00", "spark"],
        ["2026-11-24T12:00:03.000+00:00", "spark"],
    ]
    assert found[0].endswith("ingest.x             info    done  page=3 users=100")


def test_a_trace_that_is_only_mentioned_is_not_the_lines_own(tmp_path):
    (tmp_path / "a.log").write_text(line("01.000", "a", OTHER, link=TRACE) + f'"{TRACE}"\n')
    assert tail.of_trace(tmp_path, TRACE) == []


def test_the_verb_says_when_there_is_none(tmp_path):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "ingest.log").write_text(line("01.000", "ingest"))

    def asked(trace_id: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "engines", "logs", "--trace", trace_id]
        env = {"VIGIE_STATE": str(tmp_path), "PATH": ""}
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=30, check=False)
        return done.returncode, done.stdout

    assert asked(TRACE)[0] == 0
    assert "ingest.x" in asked(TRACE.upper())[1]
    assert asked(OTHER) == (1, f"no log has a line of trace {OTHER}\n")
