"""How KV leaves one engine and arrives in another: one file per connector."""
