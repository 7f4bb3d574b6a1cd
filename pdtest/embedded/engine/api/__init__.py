"""The engine's API: vLLM 0.32's names, bodies and errors, without its libraries."""
