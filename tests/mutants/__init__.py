"""Small mutations of the core: each breaks one promise, and a test must notice."""
