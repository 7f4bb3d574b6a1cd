"""The command line: vLLM's flags as far as they mean something here, and three of its own."""

from __future__ import annotations

import argparse
import difflib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

from pdtest.embedded.connectors.corruptions import BadCorruption, Corruption
from pdtest.embedded.connectors.lifetimes import KINDS
from pdtest.embedded.engine.routing import POLICIES
from pdtest.embedded.engine.settings import BLOCKS, Settings
from pdtest.embedded.model.config import BadModel, ModelConfig
from pdtest.embedded.switch import is_file, word_or_file

_DESCRIPTION: Final = """\
An inference engine without GPU and without vLLM, for tests of disaggregated prefill and decode.
It speaks vLLM's API, metrics and connectors, and computes a small transformer with random weights
exactly: an answer does not depend on batching, chunks, prefix hits or ranks."""

_EPILOG: Final = """\
examples:
  python -m pdtest.embedded.engine --model DIR --port 8000
      one engine by itself; DIR needs a config.json with Hugging Face names ("seed" decides the weights)
  VLLM_NIXL_SIDE_CHANNEL_PORT=5600 python -m pdtest.embedded.engine --model DIR --port 8100 \\
      --kv-transfer-config '{"kv_connector": "NixlConnector", "kv_role": "kv_producer"}'
      a prefill instance; a decode instance is the same with kv_consumer and ports of its own

environment variables:
  VLLM_API_KEY                    the same as --api-key, but not visible to everyone
  VLLM_NIXL_SIDE_CHANNEL_HOST     where peers reach this process (default 127.0.0.1)
  VLLM_NIXL_SIDE_CHANNEL_PORT     first of the connector's ports (default 5600); data-parallel rank d,
                                  tensor-parallel rank t listens on this + d * tensor-parallel-size + t
  PDTEST_ANNOUNCED_PORT           what peers are told instead of that port, where a relay stands in between
  VLLM_MOONCAKE_BOOTSTRAP_PORT    Mooncake's bootstrap server (default 8998)
  VLLM_LOG_STATS_INTERVAL         seconds between log lines about each rank (default: none)"""


def read(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings that a command line asks for.

    Ends the program, with a line that says what was expected, when it makes no sense. Raises BadModel.
    """
    parser = _parser()
    known, unknown = parser.parse_known_args(arguments)
    if unknown:
        parser.error(_unrecognized(unknown, parser))
    positions = ModelConfig.read(known.model).max_positions
    if (known.max_model_len or 0) > positions:
        raise BadModel(
            f"--max-model-len {known.max_model_len} is more than the model has positions: {positions}"
        )
    return Settings(
        model=Path(known.model),
        served_name=known.served_model_name or known.model,
        host=known.host,
        port=known.port,
        block_size=known.block_size,
        max_model_len=known.max_model_len or positions,
        blocks=known.num_gpu_blocks_override,
        max_num_seqs=known.max_num_seqs,
        max_num_batched_tokens=known.max_num_batched_tokens,
        tensor_ranks=known.tensor_parallel_size,
        data_ranks=known.data_parallel_size,
        data_policy=known.data_parallel_policy,
        kv_transfer_config=known.kv_transfer_config,
        prefix_caching=known.enable_prefix_caching,
        prompt_tokens_details=known.enable_prompt_tokens_details,
        api_key=known.api_key or environment.get("VLLM_API_KEY") or None,
        seed=known.seed,
        prefill_time=known.prefill_time,
        prefill_time_from=known.prefill_time_from,
        decode_time=known.decode_time,
        transfer_time=known.transfer_time,
        xray=known.xray,
        fault_transfer=known.fault_transfer,
        fault_lifetime=known.fault_lifetime,
        side_host=environment.get("VLLM_NIXL_SIDE_CHANNEL_HOST") or "127.0.0.1",
        side_port=_port(parser, environment, "VLLM_NIXL_SIDE_CHANNEL_PORT", 5600),
        announced_port=_port(parser, environment, "PDTEST_ANNOUNCED_PORT", 0) or None,
        bootstrap_port=_port(parser, environment, "VLLM_MOONCAKE_BOOTSTRAP_PORT", 8998),
        log_statistics_s=_interval(parser, environment, "VLLM_LOG_STATS_INTERVAL"),
    )


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage of all flags before it."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} (all flags: --help)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="pdtest.embedded.engine",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _model_and_api(parser.add_argument_group("model and API"))
    _cache_and_scheduling(parser.add_argument_group("KV cache and scheduling"))
    _ranks_and_transfer(parser.add_argument_group("ranks and transfer"))
    _slowness(parser.add_argument_group("slowness, for tests of timing"))
    _inside(parser.add_argument_group("what moves: looked at, and spoiled"))
    _without_effect(parser.add_argument_group("taken, and without effect"))
    return parser


def _model_and_api(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--model", required=True, metavar="DIR", help="directory with a config.json")
    group.add_argument("--served-model-name", metavar="NAME", help="what the API calls it (default: DIR)")
    group.add_argument("--max-model-len", type=_count, metavar="N", help="longest prompt and answer together")
    group.add_argument("--host", default="127.0.0.1", help="listen on (default %(default)s)")
    group.add_argument("--port", type=_port_number, default=8000, help="listen on (default %(default)s)")
    group.add_argument("--api-key", metavar="KEY", help="clients must send it as a bearer token")
    group.add_argument(
        "--enable-prompt-tokens-details", action="store_true", help="usage tells how many tokens were cached"
    )
    group.add_argument(
        "--seed", type=int, default=0, help="of sampling, for requests without a seed (default %(default)s)"
    )


def _cache_and_scheduling(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--block-size", type=_count, default=16, metavar="N", help="tokens per block (default 16)"
    )
    group.add_argument(
        "--num-gpu-blocks-override",
        type=_count,
        default=BLOCKS,
        metavar="N",
        help=f"blocks per data-parallel rank (default {BLOCKS})",
    )
    group.add_argument(
        "--enable-prefix-caching",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="find prompts' beginnings that were computed before (default: on)",
    )
    group.add_argument(
        "--max-num-seqs",
        type=_count,
        default=256,
        metavar="N",
        help="sequences computed at once (default 256)",
    )
    group.add_argument(
        "--max-num-batched-tokens",
        type=_count,
        default=256,
        metavar="N",
        help="tokens per step: longer prompts are computed in chunks (default 256: a step of about 20 ms)",
    )


def _ranks_and_transfer(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--tensor-parallel-size", type=_count, default=1, metavar="N", help="ranks that share the KV heads"
    )
    group.add_argument(
        "--data-parallel-size", type=_count, default=1, metavar="N", help="ranks with a KV cache of their own"
    )
    group.add_argument(
        "--data-parallel-policy",
        choices=POLICIES,
        default="kv_length",
        help="which rank takes a request: with least KV (kv_length, the default), with the fewest requests "
        "(count, much as vLLM), or the next one (round_robin)",
    )
    group.add_argument(
        "--kv-transfer-config",
        type=_json_object,
        metavar="JSON",
        help="kv_connector and its options, as vLLM's",
    )


def _slowness(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--prefill-time", type=_seconds, default=0.0, metavar="S", help="seconds more per prompt"
    )
    group.add_argument(
        "--prefill-time-from",
        type=int,
        default=0,
        metavar="TOKENS",
        help="prompts of which less is to be computed take no time more",
    )
    group.add_argument(
        "--decode-time", type=_seconds, default=0.0, metavar="S", help="seconds more per step that decodes"
    )
    group.add_argument(
        "--transfer-time", type=_seconds, default=0.0, metavar="S", help="seconds more per transfer"
    )


def _inside(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--xray",
        type=Path,
        metavar="DIR",
        help="write digests of the KV that is published and received to a file in DIR (docs/xray.md)",
    )
    group.add_argument(
        "--fault-transfer",
        type=_fault,
        metavar="KIND|@FILE",
        help="change KV as it arrives, for tests of tests: a kind and settings, as in scaled,layer=1, "
        "or a file with that, which is read anew at each transfer",
    )
    group.add_argument(
        "--fault-lifetime",
        type=word_or_file(KINDS),
        metavar="KIND|@FILE",
        help="give up KV too early, too late or never (NixlConnector only), for tests of tests: one of "
        f"{', '.join(sorted(KINDS))}, or a file with that, which is read anew each time",
    )


def _without_effect(group: argparse._ArgumentGroup) -> None:
    """Of deployments that have a twin here: how they run a model, not what it says."""
    for flag in ("--enforce-eager", "--enable-expert-parallel", "--trust-remote-code"):
        group.add_argument(flag, action="store_true", help="as vLLM's")


def _unrecognized(unknown: Sequence[str], parser: argparse.ArgumentParser) -> str:
    flags = [flag for action in parser._actions for flag in action.option_strings]  # noqa: SLF001 - no public way
    wrong = next((one for one in unknown if one.startswith("-")), unknown[0]).partition("=")[0]
    near = difflib.get_close_matches(wrong.replace("_", "-"), flags, n=1, cutoff=0.0)
    return f"unrecognized arguments: {' '.join(unknown)}; the nearest to {wrong} is {near[0]}"


def _port(parser: argparse.ArgumentParser, environment: Mapping[str, str], name: str, default: int) -> int:
    try:
        return _port_number(environment.get(name) or str(default))
    except argparse.ArgumentTypeError as error:
        parser.error(f"environment variable {name}: {error}")


def _interval(parser: argparse.ArgumentParser, environment: Mapping[str, str], name: str) -> float | None:
    """None where the variable is not set; vLLM takes its default then, and so for 0."""
    try:
        return _seconds(environment.get(name) or "0") or None
    except argparse.ArgumentTypeError as error:
        parser.error(f"environment variable {name}: {error}")


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 1, got {text!r}")
    return int(text)


def _port_number(text: str) -> int:
    if not text.isdecimal() or int(text) >= 1 << 16:
        raise argparse.ArgumentTypeError(f"expected a port, 0 to 65535, got {text!r}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected seconds, 0 or more, got {text!r}")
    return value


def _fault(text: str) -> str:
    if not is_file(text):
        try:
            Corruption.read(text)
        except BadCorruption as error:
            raise argparse.ArgumentTypeError(str(error)) from error
    return text


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected a JSON object, got {text!r} ({error})") from error
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"expected a JSON object, got {text!r}")
    return value
