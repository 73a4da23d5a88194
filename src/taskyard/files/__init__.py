"""Files that tasks use and save: the record of them, their bytes in a storage, and a byte quota."""
