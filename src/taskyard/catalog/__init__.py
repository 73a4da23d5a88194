"""Task types, their schemas, and the context of their handlers."""
