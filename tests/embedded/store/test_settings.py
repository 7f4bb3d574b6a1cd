from __future__ import annotations

import subprocess
import sys

import pytest

from pdtest.embedded.store.settings import StoreSettings

from .stores import Process


def test_flags_become_settings() -> None:
    flags = ["--port", "1", "--http-port", "2", "--segment-mib", "0.5", "--high-watermark", "0.7"]
    settings = StoreSettings.parse([*flags, "--low-watermark", "0.6", "--lease", "0"])
    assert settings == StoreSettings(
        port=1, http_port=2, segment_mib=0.5, high_watermark=0.7, low_watermark=0.6, lease=0
    )
    assert settings.segment_bytes == 1 << 19


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        ("--port 65536", "--port 65536: a port is between 0 (any) and 65535"),
        ("--http-port -1", "--http-port -1: a port is between"),
        ("--port 7000 --http-port 7000", "--port and --http-port are both 7000"),
        ("--segment-mib -1", "--segment-mib -1: 0 (all memory is the clients') or more"),
        ("--low-watermark 0.9", "--low-watermark 0.9 --high-watermark 0.9: shares"),
        ("--low-watermark 0", "--low-watermark 0 --high-watermark 0.9: shares"),
        ("--high-watermark 1.1", "0 < low < high <= 1"),
        ("--lease -1", "--lease -1: seconds"),
        ("--put-timeout 0", "--put-timeout 0: seconds, more than 0"),
        ("--client-timeout nan", "--client-timeout nan: seconds, more than 0"),
        ("--segment-mib many", "argument --segment-mib: invalid float value: 'many'"),
        ("--segment 5", "unrecognized arguments: --segment 5"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(
    flags: str, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        StoreSettings.parse(flags.split())
    assert caught.value.code == 2
    assert complaint in capsys.readouterr().err


def test_help_tells_every_default() -> None:
    command = [sys.executable, "-m", "pdtest.embedded.store", "--help"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    flags = {f"--{name.replace('_', '-')}" for name in vars(StoreSettings())}
    assert flags <= set(text.split())
    assert text.count("(default:") == len(flags)


@pytest.mark.parametrize("flag", ["--port", "--http-port"])
def test_a_port_that_is_taken_is_named(process: Process, flag: str) -> None:
    taken = {"--port": "0", "--http-port": "0", flag: str(process.port)}
    command = [
        sys.executable,
        "-m",
        "pdtest.embedded.store",
        *(word for pair in taken.items() for word in pair),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert f"{flag} {process.port} on 127.0.0.1:" in done.stderr
    assert "in use" in done.stderr
    assert "Traceback" not in done.stderr
