"""Planted bugs, to see that the suites notice.

The connectors in this room are loaded by vLLM itself, inside an engine (`kv_connector_module_path`). They
import vLLM and nothing of pdtest.
"""
