"""The `pdtest` command: looking at environments and making models. Running tests is pytest's part."""
