"""The environment or a TOML file, read once into one frozen Settings; nothing else reads it."""

import ipaddress
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from gateway.domain import limits
from gateway.domain.errors import FloodgateError

PREFIX: Final = "FLOODGATE_"
_SECRETS: Final = frozenset({"master_key", "simulator_secret"})
_URLS: Final = frozenset({"database_url", "redis_url"})
# Read by other parts before there are settings: where they stand, and which twin of native runs.
_NOT_SETTINGS: Final = frozenset({"config", "pure"})

# Anybody can read it here, so it keeps nobody out.
_PUBLIC_SECRET: Final = "simulator-secret-for-loopback-only"

Port = Annotated[int, Meta(ge=1, le=65535)]


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every setting with its default; the names are those of the environment in lower case.

    `public_url` is how merchants reach us, as the signature covers it; `public_names` lists further
    authorities (comma separated) under which they may.  `channel_seconds` is the deadline of one
    call to an acquirer; leases and drains are made for its default, so it can only be shorter.
    `simulator_b_url` is a second simulated acquirer, for whoever tries the router.
    `socket` is a Unix socket on which we listen as well, for a proxy on this machine, or `fd://N`,
    one that listens already and that we inherited.
    Without `simulator_trades` the simulated acquirer serves load tests and nobody else.
    `webhook_loopback` lets webhooks also go to this machine, by http.
    """

    database_url: str = ""
    redis_url: str = ""
    simulator_url: str = ""
    simulator_b_url: str = ""
    host: str = "127.0.0.1"
    port: Port = 8080
    socket: str = ""
    workers: Annotated[int, Meta(ge=1, le=256)] = 1
    public_url: str = ""
    public_names: str = ""
    master_key: str = ""
    simulator_secret: str = _PUBLIC_SECRET
    simulator_trades: bool = True
    channel_seconds: Annotated[float, Meta(gt=0, le=limits.CHANNEL_ANSWER_SECONDS)] = (
        limits.CHANNEL_ANSWER_SECONDS
    )
    database_connections: Annotated[int, Meta(ge=2, le=500)] = 6
    statement_cache: Annotated[int, Meta(ge=0)] = 200
    metrics_dir: str = ""
    pg_bin: str = ""
    redis_bin: str = ""
    webhook_loopback: bool = False
    log_level: str = "WARNING"

    def __repr__(self) -> str:
        return f"Settings({self.masked()})"

    @property
    def own_url(self) -> str:
        """Where we listen; an IPv6 address stands in brackets (RFC 3986 section 3.2.2)."""
        host = f"[{self.host.strip('[]')}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def masked(self) -> dict[str, Any]:
        """Give every effective setting; secrets and the passwords inside URLs are masked."""
        shown = msgspec.structs.asdict(self)
        for name in _SECRETS:
            shown[name] = "***" if shown[name] else ""
        for name in _URLS:
            shown[name] = _without_password(shown[name])
        return shown

    def environment(self) -> dict[str, str]:
        """Write the settings as environment variables for a child process."""
        return {
            PREFIX + name.upper(): str(value)
            for name, value in msgspec.structs.asdict(self).items()
            if value != ""
        }

    def simulator_key(self) -> bytes:
        """Give the secret that we share with the simulator; its default serves this machine alone.

        Raises `SettingsWrong` when the simulator is elsewhere: anybody could sign its notices.
        """
        is_public = self.simulator_secret == _PUBLIC_SECRET
        urls = filter(None, (self.simulator_url, self.simulator_b_url))
        if is_public and not all(_is_loopback(url) for url in urls):
            raise SettingsWrong("FLOODGATE_SIMULATOR_SECRET is needed: its default is public")
        return self.simulator_secret.encode()


class SettingsWrong(FloodgateError):
    """A setting is unknown or has a wrong value; the sentence names it and not its value."""


def read_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Read the environment over the TOML file that `FLOODGATE_CONFIG` names, if it does."""
    environment = os.environ if environment is None else environment
    given: dict[str, Any] = {}
    config = environment.get(PREFIX + "CONFIG")
    if config:
        try:
            given |= tomllib.loads(Path(config).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise SettingsWrong(
                f"the file of FLOODGATE_CONFIG cannot be read: {why_unread(error)}"
            ) from None
    given |= {
        name.removeprefix(PREFIX).lower(): value
        for name, value in environment.items()
        if name.startswith(PREFIX)
    }
    for name in _NOT_SETTINGS:
        given.pop(name, None)
    unknown = sorted(set(given) - set(Settings.__struct_fields__))
    if unknown:
        names = ", ".join(PREFIX + name.upper() for name in unknown)
        raise SettingsWrong(f"unknown setting: {names}")
    return _checked(given)


def why_unread(error: Exception) -> str:
    """Say what is wrong with a file that may hold secrets, and where, but nothing that is in it."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8"
    place = re.search(r"line (\d+),? column (\d+)", str(error))
    where = f", see line {place[1]}, column {place[2]}" if place is not None else ""
    name = type(error).__name__
    kind = {"TOMLDecodeError": "it is no TOML", "JSONDecodeError": "it is no JSON"}
    return kind.get(name, name) + where


def overridden(settings: Settings, named: Mapping[str, Any]) -> Settings:
    """Let other values win, such as the command line's; they are checked like all."""
    return _checked(msgspec.structs.asdict(settings) | dict(named))


def _checked(given: Mapping[str, Any]) -> Settings:
    try:
        return msgspec.convert(given, Settings, strict=False)
    except msgspec.ValidationError as error:
        expected, _, place = str(error).partition(" - at `$.")
        name = place.rstrip("`") or "a setting"
        raise SettingsWrong(f"{name} has a wrong value: {expected}") from None


def _without_password(url: str) -> str:
    """Mask the password of a URL, before its host or among its parameters."""
    scheme, separator, rest = url.partition("://")
    rest, question, query = rest.partition("?")
    credentials, at, place = rest.rpartition("@")
    user, colon, _ = credentials.partition(":")
    if colon:
        credentials = f"{user}:***"
    query = re.sub(r"((?:^|&)(?:ssl)?password=)[^&]*", r"\1***", query)
    return f"{scheme}{separator}{credentials}{at}{place}{question}{query}"


def _is_loopback(url: str) -> bool:
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
