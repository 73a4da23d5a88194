"""Who may use Taskyard: users, registration, tokens, throttles. Knows HTTP only to read a token."""
