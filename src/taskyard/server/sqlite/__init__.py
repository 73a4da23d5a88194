"""Django's SQLite whose writers take short turns: ``ENGINE`` names this package."""
