"""A stack for measurements is its own, whatever the shell that starts it knows of other systems."""

from pathlib import Path

from bench.load.stack import own_environment
from gateway.settings import Settings, read_settings


def test_a_shell_of_a_running_system_lends_nothing_of_it_to_a_stack(tmp_path: Path) -> None:
    file = tmp_path / "floodgate.toml"
    file.write_text(
        'database_url = "postgresql://db/floodgate"\n'
        "statement_cache = 50\nsimulator_trades = false\n"
    )
    shell = {
        "FLOODGATE_CONFIG": str(file),
        "FLOODGATE_REDIS_URL": "redis://cache:6379/0",
        "FLOODGATE_SIMULATOR_B_URL": "http://127.0.0.1:8091",
        "FLOODGATE_PUBLIC_URL": "https://pay.example.com",
        "FLOODGATE_MASTER_KEY": "a2V5",
        "FLOODGATE_SOCKET": "/run/floodgate.sock",
        "FLOODGATE_HOST": "0.0.0.0",
        "FLOODGATE_CHANNEL_SECONDS": "2",
    }
    assert read_settings(shell | own_environment()) == Settings(
        statement_cache=50, channel_seconds=2.0
    )
