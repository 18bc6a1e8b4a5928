"""Settings: the environment over a file, unknown names refused, secrets never shown."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from gateway.settings import Settings, SettingsWrong, overridden, read_settings

CANARY = "s3cret"


def test_without_an_environment_everything_has_its_default() -> None:
    assert read_settings({}) == Settings()
    assert read_settings({"PATH": "/bin", "PORT": "1"}) == Settings()


def test_the_environment_is_read_by_name() -> None:
    given = {"FLOODGATE_PORT": "9000", "FLOODGATE_HOST": "::1", "FLOODGATE_CHANNEL_SECONDS": "0.5"}
    settings = read_settings(given)
    assert (settings.port, settings.host, settings.channel_seconds) == (9000, "::1", 0.5)


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "floodgate.toml"
    file.write_text('port = 9000\nhost = "::1"\n')
    settings = read_settings({"FLOODGATE_CONFIG": str(file), "FLOODGATE_PORT": "9001"})
    assert (settings.port, settings.host) == (9001, "::1")


@pytest.mark.parametrize("named", [{"port": 0}, {"port": 65_536}, {"workers": 0}])
def test_what_the_command_line_says_is_checked_too(named: dict[str, int]) -> None:
    assert overridden(Settings(), {"port": 9000}) == Settings(port=9000)
    with pytest.raises(SettingsWrong, match=f"{next(iter(named))} has a wrong value"):
        overridden(Settings(), named)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:9000"),
        ("::1", "http://[::1]:9000"),
        ("[::1]", "http://[::1]:9000"),
    ],
)
def test_an_address_of_ipv6_stands_in_brackets(host: str, url: str) -> None:
    assert Settings(host=host, port=9000).own_url == url


def test_what_others_read_is_no_setting_of_ours() -> None:
    assert read_settings({"FLOODGATE_PURE": "1"}) == Settings()


@pytest.mark.parametrize("name", ["FLOODGATE_POTR", "FLOODGATE_", "FLOODGATE_SECRET"])
def test_an_unknown_name_is_refused(name: str) -> None:
    with pytest.raises(SettingsWrong, match=name) as refusal:
        read_settings({name: CANARY})
    assert CANARY not in str(refusal.value)


@pytest.mark.parametrize(
    "text", ['potr = "s3cret"', "[server]\nport = 1", "port = 's3cret'", 'FLOODGATE_PORT = "1"']
)
def test_an_unknown_name_or_wrong_value_in_the_file_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "floodgate.toml"
    file.write_text(text)
    with pytest.raises(SettingsWrong) as refusal:
        read_settings({"FLOODGATE_CONFIG": str(file)})
    assert CANARY not in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "No such file or directory"),
        ("port = ", "it is no TOML"),
        ("port = 1\n= 's3cret'", "it is no TOML, see line 2, column 1"),
        (b"\xff", "it is not UTF-8"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(
    tmp_path: Path, text: str | bytes | None, why: str
) -> None:
    file = tmp_path / "floodgate.toml"
    if text is not None:
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SettingsWrong, match="FLOODGATE_CONFIG") as refusal:
        read_settings({"FLOODGATE_CONFIG": str(file)})
    assert CANARY not in str(refusal.value)
    assert str(refusal.value).endswith(f": {why}")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", CANARY),
        ("PORT", "65536"),
        ("PORT", "-1"),
        ("PORT", ""),
        ("WORKERS", "0"),
        ("CHANNEL_SECONDS", "0"),
        ("CHANNEL_SECONDS", "nan"),
        ("CHANNEL_SECONDS", "3.1"),
        ("DATABASE_CONNECTIONS", "1"),
        ("WEBHOOK_LOOPBACK", CANARY),
    ],
)
def test_a_wrong_value_is_refused_without_being_repeated(name: str, value: str) -> None:
    with pytest.raises(SettingsWrong) as refusal:
        read_settings({f"FLOODGATE_{name}": value})
    assert CANARY not in str(refusal.value)
    assert name.lower() in str(refusal.value)


@pytest.mark.parametrize(
    "given",
    [
        Settings(master_key=CANARY, simulator_secret=CANARY),
        Settings(database_url=f"postgresql://user:{CANARY}@db:5432/floodgate"),
        Settings(database_url=f"postgresql://user:a@b:{CANARY}@db/floodgate"),
        Settings(database_url=f"postgresql://db/floodgate?user=u&password={CANARY}"),
        Settings(redis_url=f"redis://:{CANARY}@cache:6379/0"),
        Settings(redis_url=f"rediss://user:{CANARY}@cache"),
    ],
    ids=["secrets", "url", "url with signs", "query", "redis", "rediss"],
)
def test_no_secret_is_shown(given: Settings) -> None:
    assert CANARY not in repr(given)
    assert CANARY not in str(given.masked())
    assert given.masked().keys() == set(Settings.__struct_fields__)


@pytest.mark.parametrize(
    "url", ["", "postgresql://user@db/floodgate", "redis://127.0.0.1:6379/0", "redis://[::1]:6379"]
)
def test_a_url_without_a_password_is_shown_as_it_is(url: str) -> None:
    assert Settings(database_url=url).masked()["database_url"] == url


def test_what_is_masked_can_still_be_told_apart() -> None:
    shown = Settings(database_url=f"postgresql://user:{CANARY}@db:5432/floodgate").masked()
    assert shown["database_url"] == "postgresql://user:***@db:5432/floodgate"
    assert Settings(master_key="").masked()["master_key"] == ""


def test_a_child_reads_what_we_read() -> None:
    settings = replace(
        Settings(),
        database_url="postgresql://u:p@db/f",
        port=9000,
        channel_seconds=0.5,
        webhook_loopback=True,
        master_key=CANARY,
    )
    assert read_settings(settings.environment()) == settings


@pytest.mark.parametrize("host", ["127.0.0.1:8090", "localhost", "[::1]:8090"])
def test_the_public_secret_serves_a_simulator_on_this_machine(host: str) -> None:
    assert Settings(simulator_url=f"http://{host}").simulator_key()


@pytest.mark.parametrize(
    "url", ["http://simulator:8090", "https://192.0.2.1", "http://localhost.example", "http://["]
)
def test_a_simulator_elsewhere_needs_a_secret_of_its_own(url: str) -> None:
    with pytest.raises(SettingsWrong, match="FLOODGATE_SIMULATOR_SECRET"):
        Settings(simulator_url=url).simulator_key()
    assert Settings(simulator_url=url, simulator_secret=CANARY).simulator_key() == CANARY.encode()
