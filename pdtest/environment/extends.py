"""`extends:`: an environment file on top of others.

Mappings merge key by key, everything else is replaced, `null` drops what was inherited. Positions come
along, so an error points at the file and line where the offending value was written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pdtest.environment.finding import EnvironmentInvalid, Finding, dotted
from pdtest.environment.interpolate import interpolate
from pdtest.environment.nearest import suggestion
from pdtest.environment.source import Located, Mark, read

KEY = "extends"
SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True, kw_only=True)
class Composer:
    """Reads a file and all it extends. ``search`` are directories in which bases are found by name."""

    search: Sequence[Path]
    variables: Mapping[str, str]

    def compose(self, file: Path, chain: tuple[Path, ...] = ()) -> Located:
        """The merged tree of ``file``, in which dropped keys are still marked as such."""
        own = read(file)
        tree = _without_key(own)
        merged: Located | None = None
        for base in self._bases(own):
            found = self._found(base, file, (*chain, file.resolve()))
            inherited = self.compose(found, (*chain, file.resolve()))
            merged = merge(merged, inherited) if merged else inherited
        return merge(merged, tree) if merged else tree

    def _bases(self, own: Located) -> tuple[Located, ...]:
        named = own.child(KEY)
        if named is None:
            return ()
        filled, findings = interpolate(named, self.variables)
        if findings:
            raise EnvironmentInvalid(findings)
        bases = filled.value if isinstance(filled.value, tuple) else (filled,)
        for index, base in enumerate(bases):
            if not isinstance(base.value, str):
                raise EnvironmentInvalid(
                    [
                        Finding(
                            summary="extends names files or environments",
                            key=dotted((KEY, index)) if len(bases) > 1 else KEY,
                            position=base.at,
                            expected="a file, an environment's name, or a list of such",
                            seen=repr(base.data()),
                        )
                    ]
                )
        return bases

    def _found(self, base: Located, file: Path, chain: tuple[Path, ...]) -> Path:
        name = str(base.value)
        itself = file.resolve()
        candidates = [candidate.resolve() for candidate in self._candidates(name, file)]
        for candidate in candidates:
            # An environment may stand on a packaged one of the same name, so by name it is never itself.
            if candidate.is_file() and (candidate != itself or name == file.name):
                if candidate in chain:
                    raise _cycle(base, (*chain, candidate))
                return _shortest(candidate)
        raise EnvironmentInvalid(
            [
                Finding(
                    summary=f"extends: there is no '{name}'",
                    key=KEY,
                    position=base.at,
                    expected="a file relative to this one, or the name of an environment",
                    seen=f"none of {', '.join(str(_shortest(c)) for c in candidates)}",
                    next_step=suggestion(Path(name).stem, self._names(file)),
                )
            ]
        )

    def _candidates(self, name: str, file: Path) -> Iterator[Path]:
        beside = file.parent / name
        yield beside
        if beside.suffix not in SUFFIXES:
            for directory in dict.fromkeys([file.parent, *self.search]):
                for suffix in SUFFIXES:
                    yield directory / f"{name}{suffix}"

    def _names(self, file: Path) -> set[str]:
        directories = [file.parent, *self.search]
        return {path.stem for folder in directories for end in SUFFIXES for path in folder.glob(f"*{end}")}


def merge(base: Located, over: Located) -> Located:
    """``over`` on top of ``base``: mappings key by key, anything else replaced as a whole."""
    if not isinstance(base.value, Mapping) or not isinstance(over.value, Mapping):
        return over
    merged = dict(base.value)
    for key, value in over.value.items():
        if key not in merged:
            merged[key] = value
        elif value.value is None:
            merged[key] = replace(value, value=Mark.DROPPED)
        else:
            merged[key] = merge(merged[key], value)
    return replace(over, value=merged)


def prune(tree: Located) -> Located:
    """``tree`` without the keys that a `null` dropped.

    A `null` with nothing beneath it to drop is a value and stays.
    """
    if isinstance(tree.value, Mapping):
        kept = {k: prune(v) for k, v in tree.value.items() if v.value is not Mark.DROPPED}
        return replace(tree, value=kept)
    if isinstance(tree.value, tuple):
        return replace(tree, value=tuple(prune(item) for item in tree.value))
    return tree


def _without_key(own: Located) -> Located:
    assert isinstance(own.value, Mapping)  # noqa: S101 - read() gives nothing else
    return replace(own, value={key: value for key, value in own.value.items() if key != KEY})


def _cycle(base: Located, chain: tuple[Path, ...]) -> EnvironmentInvalid:
    start = chain.index(chain[-1])
    return EnvironmentInvalid(
        [
            Finding(
                summary="extends goes in a circle",
                key=KEY,
                position=base.at,
                expected="a base that does not extend this file again",
                seen=" -> ".join(str(_shortest(file)) for file in chain[start:]),
            )
        ]
    )


def _shortest(file: Path) -> Path:
    """Relative to the working directory where that is shorter, as people type it."""
    try:
        return file.relative_to(Path.cwd())
    except ValueError:
        return file
