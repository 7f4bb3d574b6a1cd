from __future__ import annotations

import builtins
import re
from pathlib import Path
from typing import Any

import pytest

from pdtest.errors import MissingExtra
from pdtest.events import Journal
from pdtest.report.account import read_account
from pdtest.report.analysis import analyse
from pdtest.report.page import pull_request, render, write_report

from .conftest import ENVIRONMENT, LATE, WRONG


@pytest.fixture(scope="module")
def html(run: Path) -> str:
    return render(read_account(run), run)


def test_nothing_is_fetched(html: str) -> None:
    assert "<script" not in html
    for attribute in re.findall(r'(?:src|href)="([^"]*)"', html):
        assert attribute.startswith(("#", "data:"))
    assert "url(" not in html


def test_what_members_and_tests_write_is_text(html: str) -> None:
    assert "something &amp; more &lt;b&gt;" in html
    assert "a &lt;chat&gt; is answered" in html
    assert "<tag>" not in html
    assert "<traceback>" not in html


@pytest.mark.parametrize(
    "text",
    [
        "test_shape[chat-gpu-made-up-client]",
        "corruption: choice 0: token 4",
        "the last line",
        "killed from outside",
        "not verified",
        "2 of 3 killed",
        "no leave to read /sys/class/powercap",
        "8 of 440 requests",
        "its event loop was late by 31 ms",
        "description: two GPUs",
        "INFO line 99 of proxy",
        "decode-killed, client",
        "driven harder and harder",
        "version: 0.1.16, the environment has 0.1.15",
        "decode, rank 1",
        "no engine counts them",
        "-k &#39;moves and client&#39;",
        "pd: decode 400 ms, 85 %",
        "single: 2 engines on 2 cuda; pd: 2 engines on 2 cuda",
        "claimed is &lt; 0.5: refuted",
        "no tokens_per_joule: nobody told",
        'aria-label="output tokens per s"',
    ],
)
def test_the_page_tells(html: str, text: str) -> None:
    assert text in html


def test_the_failed_ones_come_first(html: str) -> None:
    assert (
        html.index('id="look"')
        < html.index('id="comparison"')
        < html.index('id="loads"')
        < html.index('id="tests"')
    )
    assert html.index("test_shape[chat") < html.index("test_scenario[")


def test_a_run_of_nothing_has_a_page(tmp_path: Path) -> None:
    Journal(tmp_path / "events.jsonl").close()
    written = write_report(tmp_path)
    assert "interrupted" in written.html.read_text(encoding="utf-8")
    assert "no test" in written.markdown.read_text(encoding="utf-8")


def test_page_data_and_summary_lie_beside_each_other(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pdtest.report.page.page.analyse", lambda *_: None)
    written = write_report(run, tmp_path / "out" / "r.html")
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["r.html", "r.json", "r.md"]
    assert '"verdict"' not in written.json.read_text(encoding="utf-8")[:20]


def test_without_jinja_the_extra_is_named(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "jinja2":
            raise ModuleNotFoundError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtra, match=r"pdtest\[report\]"):
        write_report(run, tmp_path / "r.html")


def test_a_pull_request_gets_the_pressing_things(run: Path) -> None:
    text = pull_request(read_account(run))
    assert text.startswith("## pdtest: failed\n")
    assert f"- **failed** `{WRONG}`: parity: corruption" in text
    assert f"- **inconclusive** `{LATE}`: fault not verified" in text
    assert f"### INCONCLUSIVE: {ENVIRONMENT}, pd, default" in text
    assert f"### {ENVIRONMENT}: topologies under default" in text
    assert "| ttft_p50, ms |" in text
    assert "2 of 3 mutants killed; survived: kv-scaled" in text
    assert "2 times recovered, the slowest in 7.54 s" in text
    assert len(text.splitlines()) < 80


def test_a_load_is_drawn_beside_its_result(run: Path) -> None:
    load = read_account(run).loads[0]
    file = analyse(load, run)
    assert file == run / load.folder / "analysis.png"
    assert file.read_bytes().startswith(b"\x89PNG")
    size = int.from_bytes(file.read_bytes()[16:20])
    assert size > 1000
    written = file.stat().st_mtime_ns
    assert analyse(load, run) == file
    assert file.stat().st_mtime_ns == written
