"""Server-sent events and the waits of `Prefer: wait`."""
