"""A model small enough for any machine, whose answers depend on the whole context.

Random Qwen3 with 2.6 M parameters and unusually large initial weights: with `initializer_range` 0.5 each
token of the prompt changes the answer, so an error anywhere in transferred KV shows. Nothing is downloaded.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from filelock import FileLock

from pdtest.errors import MissingExtra, PdtestError

#: Written into the directory last, so a directory that has it is complete and ours to replace.
MARKER: Final = "pdtest-tiny.json"
#: Raised when the recipe changes, so that models of an older one are made anew.
RECIPE: Final = 1

_VOCABULARY: Final = 512
#: In this order, so that their ids are those in the config.
_EOS: Final = "<eos>"
_PAD: Final = "<pad>"
_CONFIG: Final[dict[str, Any]] = {
    "vocab_size": _VOCABULARY,
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 32,
    "initializer_range": 0.5,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": False,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "pad_token_id": 1,
    "dtype": "float32",
}
_CHAT_TEMPLATE: Final = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:"
#: The tokenizer learns its words from this. Enough variety for every one of the 512 entries.
_TEXT: Final = """\
A request first meets the prefill instance, which reads the whole prompt at once and fills the cache
with keys and values, one pair for each layer, head and position. The cache is cut into blocks of equal
size, so that memory can be given out and taken back without moving anything. When the prompt has been
read, the blocks travel over the network to the decode instance, which continues the answer word by word
and never sees the prompt again. If a block arrives late, or twice, or in another order, the answer is
wrong although nothing has failed; that is why somebody has to compare. The quick brown fox jumps over
the lazy dog while seven wizards quietly mix strange potions. In the morning the harbour was empty except
for two fishing boats and a heap of wet rope. What should we do about the weather, she asked, and nobody
had a better idea than to wait. Count from one to twenty: one, two, three, four, five, six, seven, eight,
nine, ten, eleven, twelve, thirteen, fourteen, fifteen, sixteen, seventeen, eighteen, nineteen, twenty.
"""


class ModelDirectoryTaken(PdtestError):
    """The directory holds something that pdtest did not write and will not replace."""

    title = "model directory taken"


@dataclass(frozen=True, kw_only=True)
class _Libraries:
    torch: ModuleType
    transformers: ModuleType
    tokenizers: ModuleType


def exists(directory: Path | str, *, seed: int | None = None) -> bool:
    """True when ``directory`` holds a complete tiny model (of that ``seed``, when one is given)."""
    made = _marker(Path(directory))
    if made is None or made.get("recipe") != RECIPE:
        return False
    return seed is None or made.get("seed") == seed


def ensure(directory: Path | str) -> Path:
    """The model in ``directory``, whatever it is; the tiny one when there is none yet. As `make`."""
    target = Path(directory).absolute()
    return target if _marker(target) is None and (target / "config.json").is_file() else make(target)


def make(directory: Path | str, *, seed: int = 0, force: bool = False) -> Path:
    """Write the tiny model to ``directory`` unless it is there already; about 6 s.

    Safe to call from several processes at once: one writes, the others wait and find it. ``force`` writes
    anew what pdtest has written before. The same ``seed`` gives the same weights for one version of torch.

    Raises MissingExtra without torch, transformers and tokenizers, ModelDirectoryTaken when the directory
    holds anything else.
    """
    target = Path(directory).absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.parent / f".{target.name}.lock"):
        if exists(target, seed=seed) and not force:
            return target
        _refuse_foreign(target, seed, force=force)
        libraries = _libraries()
        temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}-"))
        try:
            _write(libraries, temporary, seed)
            _replace(target, temporary)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return target


def _libraries() -> _Libraries:
    """The one place that imports them."""
    try:
        import tokenizers
        import torch
        import transformers
    except ImportError as error:
        package = (error.name or "torch").partition(".")[0]
        raise MissingExtra(package, extra="model", purpose="writing the tiny model") from error
    return _Libraries(torch=torch, transformers=transformers, tokenizers=tokenizers)


def _marker(directory: Path) -> dict[str, Any] | None:
    try:
        made = json.loads((directory / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return made if isinstance(made, dict) else None


def _refuse_foreign(target: Path, seed: int, *, force: bool) -> None:
    made = _marker(target)
    if made is None and target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ModelDirectoryTaken(
            f"{target} holds files that pdtest did not write",
            expected="a directory that is absent, empty or made by pdtest",
            seen=", ".join(sorted(path.name for path in target.iterdir())[:5])
            if target.is_dir()
            else "a file",
            next_step="choose another directory; pdtest never deletes somebody else's",
        )
    if made is not None and made.get("recipe") == RECIPE and made.get("seed") != seed and not force:
        raise ModelDirectoryTaken(
            f"{target} holds a tiny model of another seed",
            expected=f"seed {seed}",
            seen=f"seed {made.get('seed')}",
            next_step="choose another directory, or pass --force to replace it",
        )


def _write(libraries: _Libraries, directory: Path, seed: int) -> None:
    with _without_progress(libraries):
        _tokenizer(libraries).save_pretrained(directory)
        _model(libraries, seed).save_pretrained(directory)
    (directory / MARKER).write_text(json.dumps({"recipe": RECIPE, "seed": seed}), encoding="utf-8")


@contextmanager
def _without_progress(libraries: _Libraries) -> Iterator[None]:
    """No progress bars for files that are written in a moment; restored, as they are a global switch."""
    switch = libraries.transformers.utils.logging
    shown = switch.is_progress_bar_enabled()
    switch.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            switch.enable_progress_bar()


def _tokenizer(libraries: _Libraries) -> Any:
    tokenizers = libraries.tokenizers
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=_VOCABULARY,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[_EOS, _PAD],
        show_progress=False,
    )
    tokenizer.train_from_iterator(_TEXT.splitlines(), trainer)
    return libraries.transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=_EOS,
        pad_token=_PAD,
        chat_template=_CHAT_TEMPLATE,
    )


def _model(libraries: _Libraries, seed: int) -> Any:
    # Leaves the caller's random state alone: this may run inside somebody's test session.
    with libraries.torch.random.fork_rng(devices=[]):
        libraries.torch.manual_seed(seed)
        config = libraries.transformers.Qwen3Config(**_CONFIG)
        return libraries.transformers.Qwen3ForCausalLM(config).float()


def _replace(target: Path, temporary: Path) -> None:
    """Put ``temporary`` where ``target`` is. A rename cannot replace a directory that has files."""
    _open_up(temporary)
    if target.exists():
        old = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}-old-"))
        target.rename(old / target.name)
        temporary.rename(target)
        shutil.rmtree(old, ignore_errors=True)
    else:
        temporary.rename(target)


def _open_up(directory: Path) -> None:
    """Modes as the umask has them: mkdtemp and safetensors write for the owner only."""
    mask = _umask()
    directory.chmod(0o777 & ~mask)
    for file in directory.iterdir():
        file.chmod(0o666 & ~mask)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
