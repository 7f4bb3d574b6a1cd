"""The model of an environment on this machine: found, or made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from pdtest.environment.schema import Environment
from pdtest.models import embedded, tiny

#: By `model.make`.
_MAKERS: Mapping[str, Callable[[Path], Path]] = {"tiny": tiny.ensure, "embedded": embedded.ensure}


def with_model(environment: Environment, rootdir: Path) -> Environment:
    """The environment with its model's path absolute, the model made if it says so and is absent."""
    if environment.only_stores:
        return environment
    model = environment.model
    path = Path(model.path) if Path(model.path).is_absolute() else rootdir / model.path
    if model.make is not None:
        _MAKERS[model.make](path)
    if not path.is_dir():
        return environment
    return environment.model_copy(update={"model": model.model_copy(update={"path": str(path)})})


def located(environment: Environment, rootdir: Path) -> Environment:
    """With the path of a model that lies, or will lie, in the project absolute: members run elsewhere."""
    model = environment.model
    path = rootdir.resolve() / model.path
    if environment.only_stores or not (model.make or path.is_dir()):
        return environment
    return environment.model_copy(update={"model": model.model_copy(update={"path": str(path)})})
