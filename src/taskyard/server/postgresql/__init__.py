"""Django's PostgreSQL with bounded answers: ``ENGINE`` names this package."""
