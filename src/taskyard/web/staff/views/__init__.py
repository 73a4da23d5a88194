"""The views of the staff pages. A view parses, calls one function, renders."""
