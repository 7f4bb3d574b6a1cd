"""Bugs in the KV that decode receives."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final

from pdtest.kills.mutant import Mutant, Place

_LATE: Final[Mapping[str, str]] = {"transfer": "sends fewer requests than this one needs to begin"}

_kv = partial(Mutant, place=Place.KV)

KV: Final[tuple[Mutant, ...]] = (
    _kv(name="kv-zeroed", bugs=("F2",), switch="zeroed", does="the first block arrives as zeros"),
    _kv(
        name="kv-zeroed-last", bugs=("F2",), switch="zeroed,block=-1", does="the last block arrives as zeros"
    ),
    _kv(
        name="kv-zeroed-one-layer",
        bugs=("F2", "F11"),
        switch="zeroed,layer=1,block=0",
        does="one block is zeros in one layer",
    ),
    _kv(
        name="kv-zeroed-all",
        bugs=("F2",),
        switch="zeroed,block=all",
        does="all blocks arrive as zeros: a store's miss",
    ),
    _kv(
        name="kv-stale", bugs=("F2", "F3"), switch="stale", does="the first block keeps what was there before"
    ),
    _kv(
        name="kv-stale-last",
        bugs=("F3", "F11"),
        switch="stale,block=-1",
        does="the last block comes too late: what was there before is read",
    ),
    _kv(
        name="kv-truncated", bugs=("F11",), switch="truncated", does="half of the first block is not written"
    ),
    _kv(
        name="kv-truncated-last",
        bugs=("F11",),
        switch="truncated,block=-1",
        does="half of the last block is not written",
    ),
    _kv(name="kv-shifted", bugs=("F1",), switch="shifted", does="each block lands one further on"),
    _kv(
        name="kv-duplicated",
        bugs=("F1",),
        switch="duplicated",
        does="the second block is the first one once more",
    ),
    _kv(
        name="kv-swapped",
        bugs=("F1",),
        switch="swapped,block=0",
        first="branches",
        does="two whole blocks have changed places",
    ),
    _kv(
        name="kv-swapped-one-layer",
        bugs=("F1",),
        switch="swapped,block=0,layer=2",
        first="branches",
        does="two whole blocks have changed places in one layer",
    ),
    _kv(name="kv-k-v-swapped", bugs=("F1",), switch="kv-swapped", does="K is where V belongs"),
    _kv(
        name="kv-k-v-swapped-one-layer",
        bugs=("F1",),
        switch="kv-swapped,layer=0",
        does="K is where V belongs in one layer",
    ),
    _kv(name="kv-heads-rolled", bugs=("F1",), switch="heads-rolled", does="each KV head is its neighbour's"),
    _kv(
        name="kv-heads-rolled-v",
        bugs=("F1",),
        switch="heads-rolled,half=v,layer=3",
        does="V's heads are their neighbours' in one layer",
    ),
    _kv(name="kv-one-layer", bugs=("F1", "F3"), switch="one-layer", does="one layer is noise"),
    _kv(name="kv-one-head", bugs=("F1",), switch="one-head", does="one head is noise"),
    _kv(
        name="kv-one-head-k",
        bugs=("F1",),
        switch="one-head,head=3,half=k,layer=0",
        does="K of one head in one layer is noise",
    ),
    _kv(name="kv-one-token", bugs=("F3",), switch="one-token", does="one token of the first block is noise"),
    _kv(
        name="kv-scaled-layer",
        bugs=("F1",),
        switch="scaled,layer=1",
        does="one layer times 1.01: tokens stay equal",
    ),
    _kv(name="kv-scaled-head", bugs=("F1",), switch="scaled,head=2", does="one head times 1.01"),
    _kv(
        name="kv-low-precision",
        bugs=("F1",),
        switch="low-precision",
        does="rounded to bfloat16 on the way",
    ),
    _kv(
        name="kv-drift",
        bugs=("F12",),
        switch="zeroed,after=60",
        first="two_hundred",
        unseen=_LATE,
        does="right for 60 loads, then the first block is zeros",
    ),
    _kv(
        name="kv-drift-scaled",
        bugs=("F12",),
        switch="scaled,layer=2,after=100",
        first="two_hundred",
        unseen=_LATE,
        does="right for 100 loads, then one layer is times 1.01",
    ),
)
