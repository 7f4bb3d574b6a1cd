"""The embedded stack: engine, proxy and store of a PD deployment, without a GPU and without vLLM.

A program of its own. It imports nothing of the rest of pdtest, and nothing there imports it: members of
this kind are started as processes, like any other program. It computes for real: a decoder-only
transformer with seeded random weights over a paged KV cache, so that a wrong KV byte gives a wrong answer.

    python -m pdtest.embedded.engine --help
    python -m pdtest.embedded.proxy --help
    python -m pdtest.embedded.store --help
"""
