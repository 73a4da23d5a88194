"""For staff: what the system does now and has done, and what an operator may do about it."""
