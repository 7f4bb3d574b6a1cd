"""`repro/<test>/replay.sh`: the requests of a failed test again, with nothing but curl and python3."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any

from pdtest.client.handoff import Handoff, Hop
from pdtest.client.request import Request
from pdtest.cluster.cluster import Cluster
from pdtest.environment.schema import Role
from pdtest.wire.registry import contract_for

_HEAD = """\
#!/usr/bin/env bash
# Replays the requests of {test}
# one after the other, against a running environment. Should your members answer elsewhere, set the
# variables below. Each answer is written to answers/ as the member gave it.
set -euo pipefail
cd "$(dirname "$0")"
mkdir -p answers
"""

_FUNCTIONS = """
failed=0

authorization() { if [ -n "$1" ]; then printf 'Authorization: Bearer %s\\n' "$1"; fi; }

# post MEMBER-URL API-KEY PATH REQUEST-ID BODY ANSWER
post() {
  rm -f "$6"
  echo "-> $1$3 ($4)"
  # The key goes by file descriptor: a command line is visible to everyone.
  curl -sS -N -X POST "$1$3" -H 'Content-Type: application/json' -H "X-Request-Id: $4" \\
    -H @<(authorization "$2") --data-binary "@$5" -o "$6" -w '   status %{http_code}, %{time_total} s\\n' \\
    || { echo "   no answer"; failed=1; }
}

# hand_over PREFILL-ANSWER BODY OUT: the body with the kv_transfer_params that prefill answered just now
hand_over() {
  python3 - "$1" "$2" "$3" <<'PYTHON' || { echo "   nothing to hand over"; failed=1; return 1; }
import json, pathlib, sys
answer, body, out = map(pathlib.Path, sys.argv[1:])
try:
    params = json.loads(answer.read_text())["kv_transfer_params"]
except (OSError, ValueError, KeyError, TypeError):
    params = None
if params is None:
    sys.exit(1)
out.write_text(json.dumps(json.loads(body.read_text()) | {"kv_transfer_params": params}))
PYTHON
}
"""


@dataclass(frozen=True, kw_only=True)
class Replay:
    """A replay of some handoffs, written to a directory of its own."""

    test: str
    cluster: Cluster
    handoffs: Sequence[Handoff]

    def write(self, root: Path) -> Path:
        """Write the bodies and the script below ``root``. Returns the script's path."""
        directory = _new_directory(root, slug(self.test))
        script = directory / "replay.sh"
        lines = [_HEAD.format(test=self.test.replace("\n", " ")), *self._addresses(), _FUNCTIONS]
        for number, handoff in enumerate(self.handoffs, start=1):
            lines += self._handoff(directory, number, handoff)
        lines.append('\nexit "$failed"')
        script.write_text("\n".join(lines) + "\n", encoding="utf-8")
        script.chmod(0o755)
        return script

    @cached_property
    def _variables(self) -> dict[str, str]:
        """Beginnings of the variables of each member: its name as bash can spell it, and no other's."""
        variables: dict[str, str] = {}
        for name in self.cluster.members:
            variable = re.sub(r"[^A-Za-z0-9]", "_", name).upper()
            variable = f"_{variable}" if variable[0].isdigit() else variable
            while variable in variables.values():
                variable += "_"
            variables[name] = variable
        return variables

    @cached_property
    def _min_tokens(self) -> int:
        """What the contract has the request to prefill ask for at least."""
        return contract_for(self.cluster.environment.connector.contract).prefill_min_tokens

    def _addresses(self) -> Iterator[str]:
        for name, member in self.cluster.members.items():
            variable, key = self._variables[name], member.placement.member.api_key_env
            yield f"{variable}_URL=${{{variable}_URL:-{shlex.quote(member.url)}}}"
            yield f"{variable}_KEY=${{{key}:?holds the API key of {name}}}" if key else f"{variable}_KEY="

    def _handoff(self, directory: Path, number: int, handoff: Handoff) -> Iterator[str]:
        yield f"\n# handoff {number}: {handoff.request_id}, route {handoff.route}, {handoff.ending}"
        to_prefill = handoff.request.for_prefill(min_tokens=self._min_tokens)
        for hop, request in _hops(handoff, to_prefill):
            body = request.body(self.cluster.environment.model.name)
            if hop.sent is not None:
                body["kv_transfer_params"] = dict(hop.sent)
            file = _write(directory, f"{number:02}-{hop.member}.json", body)
            prefill = handoff.prefill
            if hop is handoff.decode and prefill and prefill.answered is not None and not handoff.tampered:
                # Block ids and engine ids of a new run are new: hand over what prefill answers now.
                fresh = f"{file}.now"
                words = map(shlex.quote, (_answer(number, prefill.member, to_prefill), file, fresh))
                yield f"hand_over {' '.join(words)} && \\"
                file = fresh
            yield self._post(number, hop.member, request, handoff.request_id, file)
        alone = [one for one in self.cluster.wanted if one.role is Role.COLOCATED]
        for member in alone[:1]:
            request = replace(handoff.request, stream=False)
            file = f"{number:02}-{member.name}.json"
            _write(directory, file, request.body(self.cluster.environment.model.name))
            yield self._post(number, member.name, request, f"{handoff.request_id}-reference", file)

    def _post(self, number: int, member: str, request: Request, request_id: str, file: str) -> str:
        variable, answer = self._variables[member], _answer(number, member, request)
        words = " ".join(map(shlex.quote, (request.path, request_id, file, answer)))
        return f'post "${variable}_URL" "${variable}_KEY" {words}'


def _hops(handoff: Handoff, to_prefill: Request) -> Iterator[tuple[Hop, Request]]:
    if handoff.prefill:
        yield handoff.prefill, to_prefill
    for hop in (handoff.decode, handoff.proxy):
        if hop:
            yield hop, handoff.request


def _answer(number: int, member: str, request: Request) -> str:
    return f"answers/{number:02}-{member}.{'sse' if request.stream else 'json'}"


def _write(directory: Path, name: str, body: dict[str, Any]) -> str:
    (directory / name).write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")
    return name


def _new_directory(root: Path, name: str) -> Path:
    """One that nobody else has: a test may fail twice in a run, and two long ids may begin alike."""
    for attempt in count(1):
        directory = root / (name if attempt == 1 else f"{name}-{attempt}")
        with suppress(FileExistsError):
            directory.mkdir(parents=True)
            return directory
    raise AssertionError(root)


def slug(test: str) -> str:
    """A directory name for a test id: readable, and short enough for any file system."""
    return re.sub(r"[^A-Za-z0-9_.\-]+", "_", test.removeprefix("suites/")).strip("._")[:150] or "test"
