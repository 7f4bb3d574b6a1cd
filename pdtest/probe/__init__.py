"""What vLLM loads to have its KV X-rayed, whatever its connector: see `pdtest.probe.connector`.

Runs inside an engine: imports vLLM and numpy, and nothing else of pdtest.
"""
