"""What the endpoints share: the model that is served, its limits, and how requests become sequences."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from starlette.datastructures import Headers

from pdtest.embedded.engine.api.choice import Choice
from pdtest.embedded.engine.api.errors import BadValue, NoSuchModel
from pdtest.embedded.engine.api.generation import Generation
from pdtest.embedded.engine.api.limits import Limits
from pdtest.embedded.engine.api.ports import Cores
from pdtest.embedded.engine.api.schema import Options, Prompt
from pdtest.embedded.engine.api.usage import Accounts
from pdtest.embedded.engine.sequence import Sequence as EngineSequence
from pdtest.embedded.engine.settings import Settings

#: The version of vLLM whose behaviour this engine has.
VERSION: Final = "0.32.0+embedded"


class Service:
    """One per process."""

    def __init__(self, cores: Cores, settings: Settings) -> None:
        self.cores = cores
        self.settings = settings
        self.started = int(time.time())
        self.fingerprint = f"vllm-{VERSION}"
        self.limits = Limits(max_model_len=settings.max_model_len, vocab_size=cores.config.vocab_size)
        self.accounts = Accounts(
            details=settings.prompt_tokens_details,
            block_size=settings.block_size,
            prefix_caching=settings.prefix_caching,
        )
        #: Requests that are being answered.
        self.load = 0

    def check_model(self, asked: str | None) -> None:
        """Raises NoSuchModel. A request without a model is for the one there is."""
        if asked and asked != self.settings.served_name:
            raise NoSuchModel(asked, self.settings.served_name)

    def request_id(self, headers: Headers, options: Options) -> str:
        """What the client calls the request, or a name made up for it."""
        return headers.get("x-request-id") or options.request_id or _random()

    def generation(
        self, prefix: str, request_id: str, options: Options, prompts: Sequence[Prompt], headers: Headers
    ) -> Generation:
        """The sequences that the request asks for, ready to be submitted. Raises ApiError."""
        tokens = [self.limits.tokens(prompt) for prompt in prompts]
        self.limits.check(options)
        # Clients may give the same id to several requests, and connectors tell sequences by their ids. vLLM
        # 0.32 puts eight random digits behind the id (v1/engine/input_processor.py).
        name = f"{prefix}-{request_id}-{_random()[:8]}"
        choices = [
            Choice(
                index=index * options.n + number,
                prompt_index=index,
                options=options,
                sequence=EngineSequence(
                    id=f"{name}-{index * options.n + number}",
                    request_id=request_id,
                    prompt=prompt,
                    sampling=self.limits.sampling(options, len(prompt), choice=number),
                    kv_transfer_params=options.kv_transfer_params,
                ),
            )
            for index, prompt in enumerate(tokens)
            for number in range(options.n)
        ]
        return Generation(self.cores.choose(self._data_rank(headers)), choices)

    @contextmanager
    def counted(self) -> Iterator[None]:
        """While it lasts, a request counts as load."""
        self.load += 1
        try:
            yield
        finally:
            self.load -= 1

    def _data_rank(self, headers: Headers) -> int | None:
        """The rank that a router asked for. What is not a number is ignored, as in vLLM."""
        try:
            rank = int(headers.get("x-data-parallel-rank", ""))
        except ValueError:
            return None
        if not 0 <= rank < self.settings.data_ranks:
            raise BadValue(f"data_parallel_rank {rank} is out of range [0, {self.settings.data_ranks}).")
        return rank


def _random() -> str:
    return uuid.uuid4().hex[:16]
