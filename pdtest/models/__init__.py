"""Models on disk: what pdtest must know of them, and a small one it can make itself."""
