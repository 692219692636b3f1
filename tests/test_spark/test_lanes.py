"""The lanes refuse to start on settings under which numbers would go wrong, and say which."""

import os
import subprocess
import sys

import pytest

from spark.lanes import explained


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"VIGIE_TRIGGER_MS": "soon"}, "VIGIE_TRIGGER_MS='soon'"),
        ({"VIGIE_DEDUP_MINUTES": "0"}, "VIGIE_DEDUP_MINUTES='0'"),
        ({"VIGIE_MAX_OFFSETS_PER_TRIGGER": "0"}, "VIGIE_MAX_OFFSETS_PER_TRIGGER='0'"),
        ({"VIGIE_MINUTES_RETENTION_DAYS": "9"}, "VIGIE_MINUTES_RETENTION_DAYS=9 must be longer than the 192 hours"),
        ({"VIGIE_USERS_RETENTION_DAYS": "8"}, "VIGIE_USERS_RETENTION_DAYS=8 must be 0"),
        ({"VIGIE_TOPIC_RETENTION_HOURS": "2", "VIGIE_MINUTES_RETENTION_DAYS": "1"}, "the 4 hours"),
        ({"VIGIE_CASSANDRA_CONSISTENCY": "MOST"}, "VIGIE_CASSANDRA_CONSISTENCY='MOST'"),
        ({"VIGIE_SPARK_JARS": "/no/such/folder"}, "VIGIE_SPARK_JARS='/no/such/folder' holds no jars"),
        ({"VIGIE_NO_SUCH": "1"}, "VIGIE_NO_SUCH"),
    ],
)
def test_a_wrong_setting_is_told_by_name_and_nothing_is_started(tmp_path, wrong, named):
    outer = {key: value for key, value in os.environ.items() if not key.startswith("VIGIE_")}
    env = outer | {"VIGIE_STATE": str(tmp_path)} | wrong
    done = subprocess.run(
        [sys.executable, "-m", "spark.lanes"], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert named in done.stderr


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("[CANNOT_WRITE_STATE_STORE.CANNOT_COMMIT] Error writing state store files", "cannot be written"),
        ("[CANNOT_LOAD_STATE_STORE.CANNOT_READ_DELTA_FILE] x.changelog is not there", "--set-checkpoint-aside stats"),
        ("Incomplete log file in the offset log", "--set-checkpoint-aside stats"),
    ],
)
def test_a_checkpoint_that_cannot_be_written_is_not_called_damaged(reason, said):
    words = explained(f"[STREAM_FAILED] {reason}", "/state/data/checkpoints/stats", "stats")
    assert said in words
    assert reason in words
    assert ("set-checkpoint-aside" in words) == ("set-checkpoint-aside" in said)


def test_a_checkpoint_that_is_not_there_cannot_be_set_aside(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "spark.lanes", "--set-checkpoint-aside", "raw"],
        env=os.environ | {"VIGIE_STATE": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "checkpoints/raw" in done.stderr


@pytest.mark.parametrize(
    ("elsewhere", "code", "said"),
    [("{}/shared", 0, "checkpoint set aside"), ("s3a://bucket/vigie", 2, "s3a://bucket/vigie/raw")],
)
def test_a_checkpoint_elsewhere_is_set_aside_where_it_is_in_files(tmp_path, elsewhere, code, said):
    lane = tmp_path / "shared" / "raw"
    lane.mkdir(parents=True)
    done = subprocess.run(
        [sys.executable, "-m", "spark.lanes", "--set-checkpoint-aside", "raw"],
        env=os.environ | {"VIGIE_STATE": str(tmp_path / "state"), "VIGIE_CHECKPOINTS": elsewhere.format(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    assert lane.exists() == bool(code)
    assert len(list(lane.parent.glob("raw.aside-*"))) == (code == 0)
