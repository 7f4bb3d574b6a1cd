"""The programs that members run, one file per kind."""
