"""Logging in with asyncssh, and what each refusal means. The one place that imports asyncssh."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path
from typing import Any, Final

import asyncssh

from pdtest.environment.ssh import Ssh
from pdtest.launch.host_errors import (
    HostError,
    HostKeyChanged,
    HostKeyUnknown,
    HostUnreachable,
    KeyRefused,
)

_USUAL_PORT: Final = 22
_KNOWN_HOSTS: Final = Path("~/.ssh/known_hosts")


async def connected(name: str, target: str, settings: Ssh) -> asyncssh.SSHClientConnection:
    """A connection to ``target``, which the environment calls ``name``. Raises HostError."""
    asyncssh.set_log_level("ERROR")  # every connection is news to it; ours are in the journal
    stranger = _Stranger()
    try:
        options = await asyncio.to_thread(_options, target, settings)
        async with asyncio.timeout(settings.connect_timeout_s):
            return await asyncssh.connect(
                target,
                client_factory=lambda: stranger,
                options=options,
                tunnel=settings.jump or (),
                config=_config(settings),  # the jump's own settings come from there, as with ssh -J
            )
    except asyncssh.HostKeyNotVerifiable as error:
        raise _host_key(name, stranger, _known(options), str(error)) from None
    except asyncssh.PermissionDenied as error:
        raise _refused(name, options, settings, error) from None
    except (asyncssh.ConfigParseError, asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
        raise _settings(name, error) from None
    except (TimeoutError, OSError, asyncssh.Error) as error:
        raise _unreachable(name, target, settings, error) from None


class _Stranger(asyncssh.SSHClient):
    """Remembers the host key that nobody vouched for, and says no to it."""

    def __init__(self) -> None:
        self.key: asyncssh.SSHKey | None = None
        self.seen_as: tuple[str, str, int] = ("", "", 0)

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        """Asked only about keys that are not in known_hosts."""
        self.key, self.seen_as = key, (host, addr, port)
        return False


def _options(target: str, settings: Ssh) -> asyncssh.SSHClientConnectionOptions:
    """Only what the environment says: all else is then taken from OpenSSH's files."""
    missing = [path for path in map(_path, settings.keys) if not Path(path).is_file()]
    if missing:
        raise asyncssh.KeyImportError(f"there is no file {missing[0]}")
    given: dict[str, Any] = {
        "port": settings.port,
        "username": settings.user,
        "client_keys": [_path(key) for key in settings.keys] or None,
        "known_hosts": _path(settings.known_hosts) if settings.known_hosts else None,
    }
    told = {key: value for key, value in given.items() if value is not None}
    if settings.keys:
        told["agent_path"] = None  # these keys and no others, as with IdentitiesOnly
    return asyncssh.SSHClientConnectionOptions(
        host=target, login_timeout=settings.connect_timeout_s, password=None, config=_config(settings), **told
    )


def _config(settings: Ssh) -> Any:
    return [_path(settings.config)] if settings.config else ()


def _path(text: str) -> str:
    return str(Path(text).expanduser())


def _known(options: asyncssh.SSHClientConnectionOptions) -> Any:
    return options.known_hosts or (
        str(_KNOWN_HOSTS.expanduser()) if _KNOWN_HOSTS.expanduser().is_file() else b""
    )


def _host_key(name: str, stranger: _Stranger, known: Any, said: str) -> HostError:
    if stranger.key is None:
        return HostKeyUnknown(
            f"the key of host '{name}', or of one on the way there, cannot be trusted",
            seen=said,
            next_step="log in there once with OpenSSH's ssh, which tells more",
        )
    host, address, port = stranger.seen_as
    shown = host if port == _USUAL_PORT else f"[{host}]:{port}"
    fingerprint = stranger.key.get_fingerprint()
    file = known if isinstance(known, str) else " ".join(map(str, known)) if known else str(_KNOWN_HOSTS)
    expected = [key.get_fingerprint() for key in _trusted(known, stranger)]
    scan = f"ssh-keyscan {'' if port == _USUAL_PORT else f'-p {port} '}{host} >> {file}"
    if expected:
        return HostKeyChanged(
            f"host '{name}' ({shown}, {address}) shows another key than the one in known_hosts",
            where=file,
            expected=" or ".join(expected),
            seen=fingerprint,
            next_step=f"if it was set up anew: ssh-keygen -R '{shown}' -f {file}, then {scan}; "
            "if not, somebody sits in between",
        )
    return HostKeyUnknown(
        f"nobody has vouched for the key of host '{name}' ({shown}, {address})",
        where=file,
        expected="its key in known_hosts",
        seen=fingerprint,
        next_step=f"compare that fingerprint with the host's (there: ssh-keygen -lf "
        f"/etc/ssh/ssh_host_ed25519_key.pub), then {scan}",
    )


def _trusted(known: Any, stranger: _Stranger) -> list[asyncssh.SSHKey]:
    host, address, port = stranger.seen_as
    port_or_default = None if port == _USUAL_PORT else port
    return list(asyncssh.match_known_hosts(known, host, address, port_or_default)[0])


def _refused(
    name: str,
    options: asyncssh.SSHClientConnectionOptions,
    settings: Ssh,
    error: asyncssh.PermissionDenied,
) -> KeyRefused:
    return KeyRefused(
        f"host '{name}' lets {options.username} in with none of our keys",
        where=f"{options.host}:{options.port}",
        expected=f"one of: {', '.join(settings.keys)}"
        if settings.keys
        else "a key of ~/.ssh or of the agent",
        seen=error.reason,
        next_step=f"add the public key to ~{options.username}/.ssh/authorized_keys there, or set "
        f"hosts.{name}.ssh.user and .keys; a key with a passphrase goes through ssh-agent",
    )


def _settings(name: str, error: Exception) -> HostError:
    return HostError(
        f"the ssh settings for host '{name}' cannot be used",
        seen=str(error),
        next_step=f"correct hosts.{name}.ssh, or ~/.ssh/config; load keys with a passphrase into ssh-agent",
    )


def _unreachable(name: str, target: str, settings: Ssh, error: Exception) -> HostUnreachable:
    port = f":{settings.port}" if settings.port else ""
    number = error.errno if isinstance(error, OSError) else None
    said = os.strerror(number) if number and number > 0 else str(error) or type(error).__name__
    if isinstance(error, TimeoutError) and not number:
        said = f"no answer for {settings.connect_timeout_s:g} s"
    remedy = (
        f"correct hosts.{name}.ssh.host or .address"
        if isinstance(error, socket.gaierror)
        else f"see whether sshd runs there, and what is between: ssh -v {target}"
    )
    return HostUnreachable(
        f"host '{name}' cannot be reached over ssh", where=f"{target}{port}", seen=said, next_step=remedy
    )
