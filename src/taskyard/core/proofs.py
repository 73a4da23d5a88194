"""What the statement of a submit proves of the caller's credentials (docs/adr/0012, 0027)."""

from typing import NamedTuple


class Proof(NamedTuple):
    """A condition that holds while a credential is good, for a caller that has not asked before.

    The condition is SQL over the parameters ``owner`` (the owner's id) and ``proof`` (``value``).
    There are only a few conditions, because each makes a statement of its own.
    """

    condition: str
    value: str
