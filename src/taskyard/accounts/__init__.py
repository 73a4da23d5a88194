"""Users, registration, tokens and rate limits. Knows HTTP only to read a token."""
