"""Programs that are clients of a store. Started as processes: they import nothing of pdtest."""
