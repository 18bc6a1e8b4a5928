"""The Unix socket beside the port: it is nobody else's before, and gone after."""

import socket
from pathlib import Path

import pytest
from doors_kit import CALLERS, GRANTED, queue_of, waiting_at

from gateway.drivers import listening
from gateway.drivers.listening import PlaceTaken


def speak(path: Path, door: socket.socket) -> bytes:
    """Say something through the socket to whoever listens, and give what he hears."""
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect(str(path))
        caller.sendall(b"hello")
        with door.accept()[0] as heard:
            return heard.recv(16)


def test_whoever_may_pass_the_folder_is_heard_and_nothing_is_left(tmp_path: Path) -> None:
    path = tmp_path / "door"
    with listening.unix(str(path)) as door:
        assert path.stat().st_mode & 0o777 == 0o666
        assert speak(path, door) == b"hello"
    assert not path.exists()


def test_what_the_dead_left_is_put_aside(tmp_path: Path) -> None:
    path = tmp_path / "door"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with listening.unix(str(path)) as door:
        assert speak(path, door) == b"hello"


def test_who_listens_there_keeps_his_door(tmp_path: Path) -> None:
    path = tmp_path / "door"
    with listening.unix(str(path)) as door:
        with pytest.raises(PlaceTaken, match="somebody listens"), listening.unix(str(path)):
            pass
        door.accept()[0].close()  # whoever asked whether somebody listens
        assert speak(path, door) == b"hello"


def test_a_file_of_somebody_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "letter"
    path.write_text("dear")
    with pytest.raises(PlaceTaken, match="no socket"), listening.unix(str(path)):
        pass
    assert path.read_text() == "dear"


def test_a_door_that_is_another_s_by_now_stays(tmp_path: Path) -> None:
    path = tmp_path / "door"
    with listening.unix(str(path)), socket.socket(socket.AF_UNIX) as other:
        path.rename(tmp_path / "before")
        other.bind(str(path))
    assert path.exists()


@pytest.mark.parametrize("place", ["a" * 200, "nowhere/door"])
def test_where_no_door_can_be_it_is_said(tmp_path: Path, place: str) -> None:
    path = str(tmp_path / place)
    with pytest.raises(PlaceTaken, match="cannot listen on"), listening.unix(path):
        pass


def test_a_worker_listens_on_the_port_and_on_what_it_was_given(tmp_path: Path) -> None:
    path = tmp_path / "door"
    with listening.unix(str(path)) as ours:
        file = ours.detach()
        with listening.opened("127.0.0.1", 0, listening.given(file)) as (port, door):
            assert speak(path, door) == b"hello"
            with socket.create_connection(port.getsockname()):
                port.accept()[0].close()


def test_who_does_not_accept_keeps_his_door_though_his_queue_is_full(tmp_path: Path) -> None:
    path = tmp_path / "door"
    with socket.socket(socket.AF_UNIX) as other, socket.socket(socket.AF_UNIX) as caller:
        other.bind(str(path))
        other.listen(0)
        caller.connect(str(path))
        with pytest.raises(PlaceTaken, match="somebody listens"), listening.unix(str(path)):
            pass


@pytest.mark.parametrize("path", ["fd://x", "fd://", "fd://999", "fd://0"])
def test_what_nobody_opened_for_us_is_no_door(path: str) -> None:
    with (
        pytest.raises(PlaceTaken, match="nobody opened"),
        listening.opened("127.0.0.1", 0, path),
    ):
        pass


def test_a_port_is_shared_by_workers_and_refused_to_a_second_house() -> None:
    with listening.opened("127.0.0.1", 0) as (port,):
        number = port.getsockname()[1]
        with listening.opened("127.0.0.1", number):
            pass
        with pytest.raises(PlaceTaken, match=f"127.0.0.1:{number}"):
            listening.refuse_taken("127.0.0.1", number)
    listening.refuse_taken("127.0.0.1", number)


def test_a_crowd_may_wait_at_every_door(tmp_path: Path) -> None:
    door = str(tmp_path / "door")
    with listening.opened("127.0.0.1", 0, door) as (port, _):
        assert (queue_of(port), waiting_at(door)) == (GRANTED, CALLERS)
