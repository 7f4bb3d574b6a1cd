"""`repro/<test>/replay.sh`: the requests of a failed test again, with nothing but curl and python3."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pdtest.client.handoff import Handoff, Hop
from pdtest.client.request import Request
from pdtest.cluster.cluster import Cluster
from pdtest.environment.schema import Role

_HEAD = """\
#!/usr/bin/env bash
# Replays the requests of {test}
# against a running environment. Set the URLs below if your members answer elsewhere.
# Each answer is written to answers/, each as the member gave it.
set -euo pipefail
cd "$(dirname "$0")"
mkdir -p answers
"""

_FUNCTIONS = """
# post MEMBER-URL PATH REQUEST-ID BODY ANSWER [API-KEY]
post() {
  local authorization=()
  if [ -n "${6:-}" ]; then authorization=(-H "Authorization: Bearer $6"); fi
  echo "-> $1$2 ($3)"
  curl -sS -N -X POST "$1$2" -H 'Content-Type: application/json' -H "X-Request-Id: $3" \\
    "${authorization[@]}" --data-binary "@$4" -o "$5" -w '   status %{http_code}, %{time_total} s\\n'
}

# hand_over PREFILL-ANSWER BODY OUT: the body with the kv_transfer_params that prefill answered
hand_over() {
  python3 - "$1" "$2" "$3" <<'PYTHON'
import json, sys
answer, body = (json.load(open(name)) for name in sys.argv[1:3])
if answer.get("kv_transfer_params") is not None:
    body["kv_transfer_params"] = answer["kv_transfer_params"]
json.dump(body, open(sys.argv[3], "w"))
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
        directory = root / _slug(self.test)
        directory.mkdir(parents=True, exist_ok=True)
        script = directory / "replay.sh"
        lines = [_HEAD.format(test=self.test), *self._addresses(), _FUNCTIONS]
        for number, handoff in enumerate(self.handoffs, start=1):
            lines += self._handoff(directory, number, handoff)
        script.write_text("\n".join(lines) + "\n", encoding="utf-8")
        script.chmod(0o755)
        return script

    def _addresses(self) -> Iterator[str]:
        for name, member in self.cluster.members.items():
            variable = _variable(name)
            yield f'{variable}_URL="${{{variable}_URL:-{member.url}}}"'
            key = member.placement.member.api_key_env
            yield f'{variable}_KEY="${{{key}:-}}"' if key else f'{variable}_KEY=""'

    def _handoff(self, directory: Path, number: int, handoff: Handoff) -> Iterator[str]:
        yield f"\n# handoff {number}: {handoff.request_id}, route {handoff.route}, {handoff.ending}"
        names = [hop.member for hop in (handoff.prefill, handoff.decode, handoff.proxy) if hop]
        for hop, request in self._hops(handoff):
            body = request.body(self.cluster.environment.model.name)
            if hop.sent is not None:
                body["kv_transfer_params"] = dict(hop.sent)
            file = _write(directory, f"{number:02}-{hop.member}.json", body)
            if hop is handoff.decode and not handoff.tampered and hop.sent is not None:
                # Block ids and engine ids of a new run are new: hand over what prefill answers now.
                yield f"hand_over answers/{number:02}-{names[0]}.json {file} {file}.now"
                file += ".now"
            yield self._post(hop.member, request, handoff.request_id, file, number)
        for name in self._reference():
            body = handoff.request.body(self.cluster.environment.model.name) | {"stream": False}
            body.pop("stream_options", None)
            file = _write(directory, f"{number:02}-{name}.json", body)
            yield self._post(name, handoff.request, f"{handoff.request_id}-reference", file, number)

    def _hops(self, handoff: Handoff) -> Iterator[tuple[Hop, Request]]:
        if handoff.prefill:
            yield handoff.prefill, handoff.request.for_prefill()
        for hop in (handoff.decode, handoff.proxy):
            if hop:
                yield hop, handoff.request

    def _reference(self) -> list[str]:
        return [member.name for member in self.cluster.with_role(Role.COLOCATED)][:1]

    def _post(self, member: str, request: Request, request_id: str, file: str, number: int) -> str:
        variable = _variable(member)
        answer = f"answers/{number:02}-{member}.json"
        words = " ".join(map(shlex.quote, (request.path, request_id, file, answer)))
        return f'post "${variable}_URL" {words} "${variable}_KEY"'


def _write(directory: Path, name: str, body: dict[str, Any]) -> str:
    (directory / name).write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")
    return name


def _slug(test: str) -> str:
    """A directory name for a test id: readable, and short enough for any file system."""
    return re.sub(r"[^\w.\-]+", "_", test.removeprefix("suites/")).strip("_")[:150]


def _variable(member: str) -> str:
    return re.sub(r"\W", "_", member).upper()
