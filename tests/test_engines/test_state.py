"""The state folder: what it remembers, and the socket that must not have too long a path."""

from pathlib import Path

import pytest

from engines.state import Shape, State
from observability.lock import Held


def test_a_deep_folder_gets_a_short_socket_and_two_folders_get_two(tmp_path: Path):
    assert State(Path("/home/me/vigie/.vigie")).socket == Path("/home/me/vigie/.vigie/run/supervisor.sock")
    deep = [State(Path("/home") / (name * 100)) for name in "ab"]
    assert all(len(str(state.socket)) < 90 for state in deep)
    assert deep[0].socket != deep[1].socket


def test_what_the_data_was_made_with_outlives_a_stop(state: State):
    shape = Shape(brokers=3, documents="embedded", cluster="V")
    assert state.shape() is None
    state.keep_shape(shape)
    state.keep_settings({"A": "1"}, {"VIGIE_BROKERS": "1"})
    state.clear()
    assert state.shape() == shape
    assert state.settings() == {}
    assert sorted(one.name for one in state.root.iterdir()) == ["data", "logs"]


def test_a_second_start_or_stop_meanwhile_is_kept_out(state: State):
    with state.alone(), pytest.raises(Held, match="another make up or make down"), State(state.root).alone():
        pass
    with state.alone():
        pass


def test_only_the_user_may_look_inside(state: State):
    assert state.root.stat().st_mode & 0o077 == 0
