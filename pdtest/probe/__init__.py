"""What vLLM loads so that it can be tested: it changes when something happens at the most, never what.

The X-ray's connector around any other (`connector`), one that is slow enough to be broken in a chosen phase
(`slow`), a rest for NIXL's polling thread (`progress_delay`).

Runs inside an engine: imports vLLM and numpy, and nothing else of pdtest.
"""
