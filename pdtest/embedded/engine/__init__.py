"""The engine: scheduling, prefix cache, sampling, the OpenAI-compatible API."""
