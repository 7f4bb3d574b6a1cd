"""Objects in layers: how engines put KV while they compute it, and get it while they need it."""

from __future__ import annotations

import pytest

from pdtest.stores.store import Store
from pdtest.stores.values import Value

KIB, MIB = 1 << 10, 1 << 20
LAYERS = 8


async def test_layers_in_one_call(store: Store) -> None:
    """Put from layers, got whole; put whole, got in layers: the same bytes, in the layers' order."""
    client = await store.client()
    value = store.value(LAYERS * 40 * KIB)
    await client.put_layers(value.key, value.layers(LAYERS))
    assert await client.exists(value.key)
    assert (flaw := value.flaw(await client.get(value.key))) is None, f"got whole, it {flaw}"
    await _in_layers(store, value)


async def test_layers_of_unequal_sizes(store: Store) -> None:
    """A layer's place follows from the sizes of those before it."""
    client = await store.client()
    value = store.value(1 * MIB + 13)
    await client.put_layers(value.key, value.layers(7))
    assert (flaw := value.flaw(await client.get(value.key))) is None, f"got whole, it {flaw}"


async def test_layer_by_layer(store: Store) -> None:
    """The object is there when its last layer is, and not before, for whoever asks."""
    if not store.promises.layer_by_layer:
        pytest.skip(f"'{store.member}' takes an object's layers in one call only")
    writer, reader = await store.clients(None, 0)
    value = store.value(LAYERS * 100 * KIB)
    layers = value.layers(LAYERS)
    await writer.begin_layers(value.key, list(map(len, layers)))
    # Not in their order: a layer's place does not depend on when it comes.
    for count, layer in enumerate(store.random.sample(range(LAYERS), k=LAYERS)):
        assert not await reader.exists(value.key), f"{value.key} exists with {count} of {LAYERS} layers"
        seen = await reader.get(value.key)
        assert seen is None, f"{value.key} can be got with {count} of {LAYERS} layers: it {value.flaw(seen)}"
        await writer.put_layer(value.key, layer, layers[layer])
    await writer.finish_layers(value.key)
    for client in (writer, reader):
        assert await client.exists(value.key), f"all layers are in, and it does not exist for {client.name}"
        assert (flaw := value.flaw(await client.get(value.key))) is None, f"for {client.name} it {flaw}"
    await _in_layers(store, value)


async def test_two_objects_layer_by_layer_at_once(store: Store) -> None:
    """Layers of one do not land in the other."""
    if not store.promises.layer_by_layer:
        pytest.skip(f"'{store.member}' takes an object's layers in one call only")
    client = await store.client()
    values = list(store.values(2, LAYERS * 64 * KIB).values())
    for value in values:
        await client.begin_layers(value.key, list(map(len, value.layers(LAYERS))))
    for layer in range(LAYERS):
        for value in values:
            await client.put_layer(value.key, layer, value.layers(LAYERS)[layer])
    for value in values:
        await client.finish_layers(value.key)
    for value in values:
        assert (flaw := value.flaw(await client.get(value.key))) is None, f"{value.key} {flaw}"


async def _in_layers(store: Store, value: Value) -> None:
    """Another client gets it in the layers that were put."""
    reader = await store.client(segment_bytes=0)
    layers = value.layers(LAYERS)
    seen = await reader.get_layers(value.key, list(map(len, layers)))
    assert seen is not None, f"{value.key} cannot be got in layers"
    wrong = [index for index, layer in enumerate(layers) if seen[index] != layer]
    assert not wrong, f"{value.key}: layers {wrong} of {LAYERS} are not those put"
