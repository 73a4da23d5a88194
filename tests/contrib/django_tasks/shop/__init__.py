"""An app of a project that has Django tasks already."""
