"""HTTP: what is asked, what is answered. This room alone knows status codes."""
