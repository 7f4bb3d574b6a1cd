"""`pdtest init`: an environment file of one's own, by asking or from options."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final, TypeVar

import typer
from rich.markup import escape

from pdtest.cli.catalogue import Root, catalogue_of, complete
from pdtest.cli.terminal import output
from pdtest.cluster.plan import UnknownMember
from pdtest.environment.catalogue import Catalogue, UnknownEnvironment
from pdtest.environment.draft import Wishes, draft
from pdtest.environment.schema import Environment
from pdtest.errors import PdtestError

#: What a deployment may be like. Any other environment can be named, too.
USUAL: Final = (
    "embedded",
    "vllm-cpu",
    "gpu-nixl",
    "gpu-mooncake",
    "gpu-lmcache",
    "gpu-p2p-nccl",
    "ascend-client",
    "ascend-single-node-store",
    "ascend-layerwise",
    "remote-attach",
)
_Value = TypeVar("_Value")


class FileThere(PdtestError):
    """A file of that name exists."""

    title = "file exists"


def init(  # noqa: PLR0913 - one for each option
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="What the environment is to be called.")
    ] = None,
    *,
    like: Annotated[
        str | None,
        typer.Option(
            metavar="ENV", help="What it is like, and extends; nothing is asked.", autocompletion=complete
        ),
    ] = None,
    model: Annotated[str | None, typer.Option(metavar="PATH", help="Directory of the model.")] = None,
    served_name: Annotated[str | None, typer.Option(help="The name that requests use.")] = None,
    dtype: Annotated[str | None, typer.Option(help="float32, bfloat16 or float16.")] = None,
    devices: Annotated[
        list[str] | None,
        typer.Option(metavar="MEMBER=ID,ID", help="Its GPUs or NPUs; may be repeated."),
    ] = None,
    ports: Annotated[
        list[str] | None,
        typer.Option("--port", metavar="MEMBER=PORT", help="Where it is to answer; may be repeated."),
    ] = None,
    urls: Annotated[
        list[str] | None,
        typer.Option("--url", metavar="MEMBER=URL", help="Where it runs already; may be repeated."),
    ] = None,
    description: Annotated[str, typer.Option(help="One line for lists.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    rootdir: Root = Path(),
) -> None:
    """Write an environment file: one that exists, with your model, devices, ports or URLs.

    In a terminal it asks; with [bold]--like[/] it takes the options and asks nothing. The file goes to
    environments/NAME.yaml, and nothing is written that [bold]pdtest env check[/] would not pass.

    Example: [bold]pdtest init[/]

    Example: [bold]pdtest init mine --like gpu-nixl --model /models/qwen3-8b --devices prefill=2[/]

    Example: [bold]pdtest init prod --like remote-attach --url prefill=http://10.0.0.1:8100[/]
    """
    catalogue = catalogue_of(rootdir)
    if like is None:
        _require_terminal()
        like = _choose(catalogue)
        asking = True
    else:
        asking = False
    base = catalogue.load(like)
    called = name or (typer.prompt("its name", default=f"my-{base.name}") if asking else _nameless())
    wishes = Wishes(
        like=like,
        description=description,
        model=model,
        served_name=served_name,
        dtype=dtype,
        devices=_pairs("--devices", devices, _ids, "MEMBER=ID,ID"),
        ports=_pairs("--port", ports, int, "MEMBER=PORT"),
        urls=_pairs("--url", urls, _url, "MEMBER=URL"),
    )
    if asking:
        wishes = _asked(wishes, catalogue, base)
    for member in (*wishes.devices, *wishes.ports, *wishes.urls):
        if member not in catalogue.members(like):
            raise UnknownMember(member, base)
    target = rootdir / "environments" / f"{_plain(called)}.yaml"
    _write(draft(wishes, catalogue, base), target, catalogue, force=force)
    console = output()
    console.print(f"[green]written[/]  {escape(str(target))}")
    console.print(f"next     pdtest doctor {called}, pdtest up {called}, pdtest run {called}")


def _write(text: str, target: Path, catalogue: Catalogue, *, force: bool) -> None:
    """Raises FileThere, and EnvironmentInvalid for what `env check` would not pass."""
    if target.exists() and not force:
        raise FileThere(
            "an environment of that name is there already",
            where=str(target),
            next_step="give another name, or --force to replace it",
        )
    with tempfile.TemporaryDirectory() as place:
        trial = Path(place) / target.name
        trial.write_text(text, encoding="utf-8")
        catalogue.load(trial)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")


def _choose(catalogue: Catalogue) -> str:
    console = output()
    files = catalogue.files()
    known = [name for name in USUAL if name in files]
    for number, name in enumerate(known, 1):
        console.print(f"{number:>3}  [bold]{name:<26}[/]{escape(catalogue.load(name).description)}")
    answer: str = typer.prompt("like which of these (a number, or a name of pdtest env list)", default="1")
    if answer.isdigit() and 0 < int(answer) <= len(known):
        return known[int(answer) - 1]
    if answer not in files:
        raise UnknownEnvironment(answer, tuple(files), catalogue.directories)
    return answer


def _asked(wishes: Wishes, catalogue: Catalogue, base: Environment) -> Wishes:
    """What options have not said, where the environment has it."""
    urls, devices = dict(wishes.urls), dict(wishes.devices)
    model = wishes.model
    if model is None and base.model.make is None and not base.only_stores:
        model = typer.prompt("directory of the model", default=base.model.path)
    for name in catalogue.members(wishes.like):
        member = base.members.get(name)
        if (member is None or member.url is not None) and name not in urls:
            # None: optional, and left out where no variable names its URL.
            url = typer.prompt(f"URL of {name}", default=member.url if member and member.url else "none")
            if url != "none":
                urls[name] = url
        elif member is not None and member.devices and name not in devices:
            usual = ",".join(map(str, member.devices))
            devices[name] = typer.prompt(f"devices of {name}", default=usual, value_proc=_ids)
    changed = {
        name: ids
        for name, ids in devices.items()
        if name not in base.members or ids != base.members[name].devices
    }
    return Wishes(
        like=wishes.like,
        description=wishes.description or typer.prompt("described in a line as", default=base.description),
        model=model,
        served_name=wishes.served_name,
        dtype=wishes.dtype,
        devices=changed,
        ports=wishes.ports,
        urls=urls,
    )


def _pairs(
    option: str, given: Sequence[str] | None, read: Callable[[str], _Value], expected: str
) -> Mapping[str, _Value]:
    """Of ``MEMBER=VALUE``, by member."""
    found: dict[str, _Value] = {}
    for text in given or ():
        member, _, value = text.partition("=")
        try:
            found[member] = read(value)
        except (ValueError, typer.BadParameter):
            raise typer.BadParameter(f"'{text}' is not {expected}", param_hint=option) from None
    return found


def _url(text: str) -> str:
    if "://" not in text:
        raise typer.BadParameter("no URL")
    return text


def _ids(text: str | Collection[int]) -> tuple[int, ...]:
    """Of ``0,1``. What is read already passes: click reads a default twice."""
    if not isinstance(text, str):
        return tuple(text)
    try:
        return tuple(int(word) for word in text.split(","))
    except ValueError:
        raise typer.BadParameter("numbers with commas between, as in 0,1") from None


def _plain(name: str) -> str:
    if not name or name.startswith(("_", ".")) or "/" in name:
        raise typer.BadParameter(f"'{name}' cannot be an environment's name", param_hint="NAME")
    return name.removesuffix(".yaml")


def _nameless() -> str:
    raise typer.BadParameter("what is it to be called?", param_hint="NAME")


def _require_terminal() -> None:
    if not sys.stdin.isatty():
        raise typer.BadParameter("without a terminal to ask in, say what it is like", param_hint="--like")
