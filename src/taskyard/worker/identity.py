"""Which worker this process belongs to: set in the parent, inherited by its children."""

worker_id: int = 0
parent_pid: int = 0
