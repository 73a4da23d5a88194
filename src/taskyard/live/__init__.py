"""Events to whoever waits."""
