"""The staff pages: the state and history of the system, and actions for operators."""
