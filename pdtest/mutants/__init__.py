"""Planted bugs, to see that the suites notice.

The connectors in this room are loaded by vLLM itself, inside an engine (`kv_connector_module_path`). They
import vLLM, and of pdtest what else vLLM loads (`pdtest.probe`).
"""
