"""Views parse, call one function, render."""
