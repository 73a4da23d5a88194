"""What can be run: task types, their schemas, and what a handler may ask for."""
