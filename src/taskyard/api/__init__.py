"""The HTTP API: parses requests and renders responses. Only this package knows status codes."""
