"""A model small enough for any machine, whose answers depend on the whole context.

Random Qwen3 with 2.6 M parameters and unusually large initial weights: with `initializer_range` 0.5 each
token of the prompt changes the answer, so an error anywhere in transferred KV shows. Nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from pdtest.errors import MissingExtra
from pdtest.models.recipe import Recipe

MARKER: Final = "pdtest-tiny.json"
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


@dataclass(frozen=True, kw_only=True)
class _Libraries:
    torch: ModuleType
    transformers: ModuleType
    tokenizers: ModuleType


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


def _write(libraries: _Libraries, directory: Path, seed: int) -> None:
    with _without_progress(libraries):
        _tokenizer(libraries).save_pretrained(directory)
        _model(libraries, seed).save_pretrained(directory)


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


def _make(directory: Path, seed: int) -> None:
    """About 6 s. The same ``seed`` gives the same weights for one version of torch.

    Raises MissingExtra without torch, transformers and tokenizers.
    """
    _write(_libraries(), directory, seed)


_RECIPE: Final = Recipe(kind="tiny", marker=MARKER, version=RECIPE, write=_make)

exists = _RECIPE.exists
ensure = _RECIPE.ensure
make = _RECIPE.make
