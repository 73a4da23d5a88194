"""The views of the user's pages. A view parses, calls one function, renders."""
