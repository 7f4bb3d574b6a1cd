"""One request and what a server answered, as plain JSON so that it can be recorded."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

JSON = "application/json"
EVENTS = "text/event-stream"


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """``request`` is the body as sent. Of ``body``, ``events`` and ``text`` one is set, by content type.

    ``events``: the JSON of each `data:` line of a stream, the closing `[DONE]` as that string.
    """

    method: str
    path: str
    request: Any
    status: int
    content_type: str
    body: Any = None
    events: list[Any] | None = None
    text: str | None = None

    def json(self) -> dict[str, Any]:
        return asdict(self)


Earlier = Mapping[str, Exchange]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A request to make. A ``body`` that is a function gets the answers to the cases before it."""

    name: str
    path: str
    body: Mapping[str, Any] | str | Callable[[Earlier], Mapping[str, Any]] | None = None
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=dict)


def ask(client: httpx.Client, case: Case, earlier: Earlier) -> Exchange:
    """Send ``case`` to the server that ``client`` knows."""
    body = case.body(earlier) if callable(case.body) else case.body
    headers = {"content-type": JSON, **case.headers} if case.method == "POST" else dict(case.headers)
    content = body if isinstance(body, str) or body is None else json.dumps(body)
    response = client.request(case.method, case.path, content=content, headers=headers)
    return Exchange(
        method=case.method,
        path=case.path,
        request=body,
        status=response.status_code,
        content_type=response.headers.get("content-type", ""),
        **_content(response, metrics=case.path == "/metrics"),
    )


def _content(response: httpx.Response, *, metrics: bool) -> dict[str, Any]:
    if metrics:
        return {"body": _families(response.text)}
    kind = response.headers.get("content-type", "").partition(";")[0]
    if kind == JSON:
        return {"body": response.json()}
    if kind == EVENTS:
        return {"events": [_event(part) for part in response.text.split("\n\n") if part]}
    return {"text": response.text}


def _event(part: str) -> Any:
    label, _, data = part.partition(": ")
    if label != "data":
        return {"not data": part}
    return data if data == "[DONE]" else json.loads(data)


def _families(text: str) -> dict[str, Any]:
    """Type and labels of each metric: values are for other tests, and would not fit into a recording."""
    return {
        family.name: {
            "type": family.type,
            "labels": sorted({label for sample in family.samples for label in sample.labels}),
        }
        for family in text_string_to_metric_families(text)
    }
