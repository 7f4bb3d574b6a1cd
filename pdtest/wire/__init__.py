"""What connectors put on the wire: one file per contract."""
