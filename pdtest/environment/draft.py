"""A new environment file: one that exists, with what is different at this site."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pdtest.environment.catalogue import Catalogue
from pdtest.environment.interpolate import escape
from pdtest.environment.resolved import dump
from pdtest.environment.schema import Environment

#: How the shipped files name the model, among what they require: ${MODEL:-/models/Qwen3-0.6B}/config.json.
_MODEL: Final = re.compile(r"\$\{MODEL(:-[^{}]*)?\}")
_PARALLEL: Final = "tensor-parallel-size"


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What is different. By member: its devices, the port it is to have, the URL where it runs already."""

    like: str
    description: str = ""
    model: str | None = None
    served_name: str | None = None
    dtype: str | None = None
    devices: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    ports: Mapping[str, int] = field(default_factory=dict)
    urls: Mapping[str, str] = field(default_factory=dict)


def draft(wishes: Wishes, catalogue: Catalogue, base: Environment) -> str:
    """The file's text. ``base`` is what ``wishes.like`` names. Whether it is right, loading it tells."""
    sections = {
        "description": escape(wishes.description),
        "requires": _requires(wishes, catalogue, base),
        "hosts": _hosts(wishes, base),
        "model": _model(wishes, base),
        "members": _members(wishes, base),
    }
    told = {"extends": wishes.like, **{name: section for name, section in sections.items() if section}}
    return "# What is not said here is as in the environment that it extends: pdtest env show.\n" + dump(told)


def _requires(wishes: Wishes, catalogue: Catalogue, base: Environment) -> dict[str, Any]:
    """The files that must be there, the model's by its new path: lists replace what is inherited."""
    if wishes.model is None:
        return {}
    model, files, found = escape(wishes.model), [], False
    for number, entry in enumerate(base.requires.files):
        path: tuple[str | int, ...] = ("requires", "files", number)
        if isinstance(entry, str):
            written, why = catalogue.spelling(wishes.like, path) or escape(entry), ""
        else:
            written = catalogue.spelling(wishes.like, (*path, "need")) or escape(entry.need)
            why = escape(entry.why)
        if _MODEL.search(written):
            found, why = True, "put the model there, or correct model.path"
            written = _MODEL.sub(lambda _: model, written)
        files.append({"need": written, **({"why": why} if why else {})})
    return {"files": files} if found else {}


def _hosts(wishes: Wishes, base: Environment) -> dict[str, Any]:
    """Devices beyond those that are listed."""
    more: dict[str, Any] = {}
    for name, host in base.hosts.items():
        if host.devices is None:
            continue
        asked = {
            device
            for member, ids in wishes.devices.items()
            if member in base.members and base.members[member].host == name
            for device in ids
        }
        if not asked <= {*host.devices.ids}:
            more[name] = {"devices": {"ids": sorted({*host.devices.ids, *asked})}}
    return more


def _model(wishes: Wishes, base: Environment) -> dict[str, Any]:
    told: dict[str, Any] = {}
    if wishes.model is not None:
        told["path"] = escape(wishes.model)
        if base.model.make is not None:
            told["make"] = None
    if wishes.served_name is not None:
        told["served_name"] = escape(wishes.served_name)
    if wishes.dtype is not None:
        told["dtype"] = wishes.dtype
    return told


def _members(wishes: Wishes, base: Environment) -> dict[str, Any]:
    told: dict[str, dict[str, Any]] = {}
    for name, url in wishes.urls.items():
        told.setdefault(name, {})["url"] = escape(url)
    for name, ids in wishes.devices.items():
        told.setdefault(name, {})["devices"] = [*ids]
        member = base.members.get(name)
        if member is not None and member.service == "vllm" and len(ids) > 1 and _PARALLEL not in member.args:
            told[name]["args"] = {_PARALLEL: len(ids)}
    for name, port in wishes.ports.items():
        told.setdefault(name, {})["ports"] = {"http": port}
    return told
