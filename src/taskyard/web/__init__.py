"""The web pages for users and staff. They work without JavaScript."""
