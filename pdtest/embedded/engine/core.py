"""One data-parallel rank of the engine: loads and computes KV of sequences, chooses their tokens."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from pdtest.embedded.connectors.connector import Connector, Handover, LoadFailed
from pdtest.embedded.engine.rank import Rank
from pdtest.embedded.engine.record import Record, State
from pdtest.embedded.engine.sampling import Sampler, report_prompt, reported
from pdtest.embedded.engine.scheduler import Chunk, Scheduler
from pdtest.embedded.engine.sequence import Finish, Logprob, Step
from pdtest.embedded.engine.sequence import Sequence as EngineSequence
from pdtest.embedded.engine.settings import Settings
from pdtest.embedded.engine.statistics import Gauges, Statistics
from pdtest.embedded.model.config import ModelConfig
from pdtest.embedded.model.exact import Floats
from pdtest.embedded.model.transformer import Span, Transformer
from pdtest.embedded.model.weights import Weights

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

_log = logging.getLogger(__name__)


class _Refused(Exception):
    """The connector cannot make sense of a request."""


class Core:
    """Puts `Step`s into the queues of sequences.

    Everything happens on the event loop that `start` runs on; nothing here is thread-safe.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        config: ModelConfig,
        weights: Weights,
        registry: CollectorRegistry,
        data_rank: int,
    ) -> None:
        self._settings = settings
        self._config = config
        self._wake = asyncio.Event()
        self.rank = Rank(
            settings=settings, config=config, registry=registry, data_rank=data_rank, released=self._wake.set
        )
        self._transformer = Transformer(config, weights, self.rank.memories)
        self._scheduler = Scheduler(
            blocks=self.rank.blocks,
            block_size=settings.block_size,
            caching=settings.prefix_caching,
            running=settings.max_num_seqs,
            tokens=settings.max_num_batched_tokens,
        )
        self.statistics = Statistics(gauges=self._gauges, max_model_len=settings.max_model_len)
        self._connector = _connector(settings, self.rank)
        self._recompute = (settings.kv_transfer_config or {}).get("kv_load_failure_policy") == "recompute"
        self._records: dict[EngineSequence, Record] = {}
        self._loop: asyncio.Task[None] | None = None
        #: What the ends of answers wait for.
        self._answering: set[asyncio.Future[None]] = set()

    async def start(self) -> None:
        """Start the connector and the loop. Raises OSError when the connector cannot listen."""
        if self._connector is not None:
            await self._connector.start()
        self._loop = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Abort everything and stop."""
        self.abort_all()
        loading = [record.task for record in self._records.values() if record.task is not None]
        await asyncio.gather(*loading, return_exceptions=True)
        if self._loop is not None:
            self._loop.cancel()
            with suppress(asyncio.CancelledError):
                await self._loop
        if self._connector is not None:
            await self._connector.close()
        for waiting in tuple(self._answering):
            waiting.cancel()

    @property
    def kv_tokens(self) -> int:
        """Tokens whose KV is in use, held ones included."""
        return self.rank.held_tokens + sum(sequence.computed for sequence in self._records)

    @property
    def expected_kv_tokens(self) -> int:
        """What `kv_tokens` will be when all that is here now has been computed."""
        return self.rank.held_tokens + sum(sequence.length for sequence in self._records)

    @property
    def sequences(self) -> int:
        """How many run or wait here."""
        return len(self._records)

    def submit(self, sequence: EngineSequence) -> None:
        """Let it wait for its turn. One that can never have its turn ends at once, with an error."""
        now = time.monotonic()
        sequence.arrived_at = sequence.arrived_at or now
        sampler = Sampler(sequence, eos_id=self._config.eos_id, seed=self._settings.seed)
        record = Record(sequence=sequence, sampler=sampler, queued_at=now)
        self._records[sequence] = record
        self._scheduler.waiting.append(record)
        if self._connector is not None:
            self._connector.queued(sequence)
        # The KV of the last token is not needed.
        most = min(len(sequence.prompt) + sequence.sampling.max_tokens, self._settings.max_model_len) - 1
        needed, there = self._scheduler.needed(max(most, len(sequence.prompt))), self.rank.blocks.count
        if needed > there:
            self._fail(
                record,
                f"the request needs up to {needed} KV blocks of {self._settings.block_size} tokens, there "
                f"are {there}: ask for fewer tokens, or start the engine with --num-gpu-blocks-override",
                status=400,
            )
        self._wake.set()

    def abort(self, sequence: EngineSequence, finish: Finish = Finish.ABORT) -> None:
        """Give it up, wherever it is. Nothing happens when it has ended.

        While KV is on its way into its blocks, it ends when the connector is through with them.
        ``finish`` is `Finish.STOP` when nothing more is needed because its text has a stop string.
        """
        record = self._records.get(sequence)
        if record is None:
            return
        if record.task is None:
            self._end(record, Step(finish=finish))
        else:
            record.aborted = record.aborted or finish
            record.task.cancel()

    def abort_all(self) -> None:
        """Give up all sequences."""
        for sequence in tuple(self._records):
            self.abort(sequence)

    def reset_prefix_cache(self) -> bool:
        """Forget cached prefixes. False, and nothing done, while blocks are in use; as vLLM."""
        return self.rank.blocks.forget()

    async def _run(self) -> None:
        while True:
            self._admit()
            chunks = self._scheduler.plan()
            if not chunks:
                # Arrivals, ends, loads and releases set it.
                self._wake.clear()
                await self._wake.wait()
                continue
            try:
                await self._step(chunks)
            except Exception:  # noqa: BLE001 - the others must go on
                _log.exception("a step of %d sequences failed; they end with status 500", len(chunks))
                for chunk in chunks:
                    self._fail(chunk.record, "the engine failed in a step, see its log")
            # Let requests in and answers out.
            await asyncio.sleep(0)

    def _admit(self) -> None:
        while (record := self._scheduler.admit()) is not None:
            sequence = record.sequence
            if record.asked:
                # It was preempted. What the peer held for it is gone.
                self._scheduler.run(record)
                continue
            record.asked = True
            sequence.cached = sequence.computed
            if sequence.sampling.prompt_logprobs is not None:
                # These need the logits of the whole prompt: neither prefix cache nor connector help.
                self._scheduler.run(record)
                continue
            if self._settings.prefix_caching:
                self.statistics.looked_up(sequence)
            if self._connector is None:
                self._scheduler.run(record)
                continue
            record.state = State.LOADING
            record.task = asyncio.create_task(self._fetch(record, self._connector))
            record.task.add_done_callback(partial(self._fetched, record))

    async def _fetch(self, record: Record, connector: Connector) -> None:
        """Ask the connector, and have it load what it promises."""
        sequence = record.sequence
        prompt = len(sequence.prompt)
        try:
            promised = await connector.match(sequence, sequence.cached)
        except ValueError as error:
            raise _Refused(str(error)) from error
        self.statistics.asked(sequence, promised)
        if not promised:
            return
        try:
            await connector.load(sequence, sequence.cached, promised)
        except LoadFailed as failure:
            if not self._recompute:
                raise
            _log.warning("KV of %s is computed here, it did not arrive: %s", sequence.id, failure)
            promised = failure.arrived
        # The last token is computed once more, for its logits. vLLM counts it as transferred all the same,
        # unless it is all there is: then it starts over.
        sequence.computed = min(sequence.cached + promised, prompt - 1)
        sequence.transferred = 0 if prompt == 1 else promised

    def _fetched(self, record: Record, task: asyncio.Task[None]) -> None:
        record.task = None
        self._wake.set()
        problem = None if task.cancelled() else task.exception()
        if record.aborted is not None or task.cancelled():
            self._end(record, Step(finish=record.aborted or Finish.ABORT))
        elif problem is None:
            self._scheduler.loaded(record)
        elif isinstance(problem, _Refused):
            self._fail(record, str(problem), status=400)
        else:
            if not isinstance(problem, LoadFailed):
                _log.error("the connector failed for %s", record.sequence.id, exc_info=problem)
            self._fail(record, f"KV load failed: {problem}")

    async def _step(self, chunks: Sequence[Chunk]) -> None:
        now = time.monotonic()
        for chunk in chunks:
            chunk.record.scheduled_at = chunk.record.scheduled_at or now
        logits = self._transformer.forward(
            [_span(chunk) for chunk in chunks], lambda layer: self._layer_computed(chunks, layer)
        )
        delay = self._delay(chunks)
        if delay:
            await asyncio.sleep(delay)
        with self.statistics.step():
            now = time.monotonic()
            for chunk, rows in zip(chunks, logits, strict=True):
                if chunk.record.state is State.RUNNING:  # not aborted meanwhile
                    self._computed(chunk, rows, now)

    def _layer_computed(self, chunks: Sequence[Chunk], layer: int) -> None:
        if self._connector is None:
            return
        for chunk in chunks:
            sequence = chunk.record.sequence
            start, prompt = sequence.computed, len(sequence.prompt)
            if start < prompt:
                self._connector.layer_computed(sequence, layer, start, min(start + chunk.count, prompt))

    def _delay(self, chunks: Sequence[Chunk]) -> float:
        """Seconds that a slow engine takes longer: for each prompt that is through, and for decoding."""
        prompts = decoding = 0
        for chunk in chunks:
            sequence = chunk.record.sequence
            if sequence.output:
                decoding = 1
            elif chunk.count == chunk.record.remaining:
                # The last token alone is computed also when all KV was there already.
                tokens = len(sequence.prompt) - sequence.cached - sequence.transferred
                prompts += tokens > 1 and tokens >= self._settings.prefill_time_from
        return self._settings.prefill_time * prompts + self._settings.decode_time * decoding

    def _computed(self, chunk: Chunk, logits: Floats, now: float) -> None:
        """A sequence's KV has grown; choose the next token when it was computed up to the last."""
        record, sequence = chunk.record, chunk.record.sequence
        start = sequence.computed
        sequence.computed += chunk.count
        self._scheduler.enter(record)
        if sequence.sampling.prompt_logprobs is not None and start < len(sequence.prompt):
            report_prompt(sequence, start, logits)
        if record.remaining:
            return
        token = record.sampler.choose(logits[-1])
        chosen: Logprob | None = None
        candidates: tuple[Logprob, ...] = ()
        if sequence.sampling.logprobs is not None:
            chosen, candidates = reported(logits[-1], token, sequence.sampling.logprobs)
        sequence.output.append(token)
        self.statistics.token(record, now)
        finish, reason = self._finish(sequence, token)
        step = Step(token=token, chosen=chosen, candidates=candidates, finish=finish, stop_reason=reason)
        if finish is None:
            sequence.steps.put_nowait(step)
        else:
            self._end(record, step)

    def _finish(self, sequence: EngineSequence, token: int) -> tuple[Finish | None, int | None]:
        """Whether ``token`` ends it. In vLLM's order (v1/core/sched/utils.py, check_stop)."""
        sampling = sequence.sampling
        if token == self._config.eos_id and not sampling.ignore_eos:
            return Finish.STOP, None
        if token in sampling.stop_token_ids:
            return Finish.STOP, token
        if len(sequence.output) >= sampling.max_tokens or sequence.length >= self._settings.max_model_len:
            return Finish.LENGTH, None
        return None, None

    def _fail(self, record: Record, error: str, *, status: int = 500) -> None:
        self._end(record, Step(finish=Finish.ERROR, error=error, status=status))

    def _end(self, record: Record, step: Step) -> None:
        """The end of a sequence, whatever its state; ``step`` says how."""
        sequence = record.sequence
        if self._records.pop(sequence, None) is None:
            return
        self._scheduler.remove(record)
        record.state = State.ENDED
        sequence.finish = step.finish
        handover = self._handover(sequence)
        sequence.handover = handover.params
        if handover.hold:
            self.rank.hold(sequence)
        else:
            self.rank.blocks.release(sequence.blocks)
        self.statistics.ended(record)
        self._answer(sequence, step, handover)
        self._wake.set()

    def _answer(self, sequence: EngineSequence, step: Step, handover: Handover) -> None:
        """Give out the last step; where the connector wants the answer to wait for it, once it is through."""
        if handover.answer_after is None or step.finish not in {Finish.LENGTH, Finish.STOP}:
            sequence.steps.put_nowait(step)
            return
        waiting = asyncio.ensure_future(handover.answer_after)
        self._answering.add(waiting)
        waiting.add_done_callback(self._answering.discard)
        waiting.add_done_callback(lambda _: sequence.steps.put_nowait(step))

    def _handover(self, sequence: EngineSequence) -> Handover:
        if self._connector is None:
            return Handover()
        try:
            return self._connector.finished(sequence)
        except Exception:  # noqa: BLE001 - the sequence must end
            _log.exception("the connector failed at the end of %s; its blocks are freed", sequence.id)
            return Handover()

    def _gauges(self) -> Gauges:
        states = [record.state for record in self._records.values()]
        running = states.count(State.RUNNING)
        return Gauges(
            running=running,
            waiting=len(states) - running,
            loading=states.count(State.LOADING),
            loaded=states.count(State.READY),
            usage=self.rank.blocks.used / self.rank.blocks.count,
            kv_tokens=self.kv_tokens,
            preemptions=self._scheduler.preempted,
        )


def _span(chunk: Chunk) -> Span:
    record, sequence = chunk.record, chunk.record.sequence
    start, end = sequence.computed, sequence.computed + chunk.count
    wanted = 1 if end == sequence.length else 0
    if sequence.sampling.prompt_logprobs is not None and start < len(sequence.prompt):
        wanted = chunk.count
    return Span(record.tokens(start, end), start, sequence.blocks, wanted)


def _connector(settings: Settings, rank: Rank) -> Connector | None:
    if settings.kv_transfer_config is None:
        return None
    from pdtest.embedded.connectors.registry import connector_for

    connector = connector_for(settings.kv_transfer_config, rank, settings.fault_lifetime)
    if connector is not None and settings.fault_transfer is not None:
        from pdtest.embedded.connectors.corrupted import CorruptedConnector

        connector = CorruptedConnector(connector, rank, settings.fault_transfer)
    if connector is not None and settings.xray is not None:
        from pdtest.embedded.connectors.xray import XrayConnector

        # Outermost: it sees what the engine gets, spoiled or not.
        connector = XrayConnector(connector, settings.kv_transfer_config, rank, settings.xray)
    return connector
