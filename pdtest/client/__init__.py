"""Requests to engines and proxies, and the handoff between them."""
