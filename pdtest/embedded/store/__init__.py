"""The store: a pool of KV by content, one meta process and its clients."""
