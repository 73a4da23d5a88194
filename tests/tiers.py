"""Which tests run when: see `tests/suite.py` and CONTRIBUTING.md.

A key is the beginning of a test's id. A test of `test-all` alone has its reason here.
"""

# What the kind of database says nothing about runs once: beside SQLite, or beside PostgreSQL.
ONCE = {
    "sqlite": (
        "tests/catalog",
        "tests/client/test_commands.py",
        "tests/client/test_parts.py",
        "tests/client/test_start.py",
        "tests/clients",
        "tests/docs",
        "tests/mutants",
        "tests/openapi",
        "tests/postman",
        "tests/server/test_bridge.py",
        "tests/server/test_env.py",
        "tests/server/test_up.py",
        "tests/web/staff/test_in_a_browser.py",
        "tests/web/test_browser.py",
    ),
    "postgresql": ("tests/benchmarks",),
}

SLOW: dict[str, str] = {}


def is_slow(test: str) -> bool:
    """Whether only `make test-all` runs this test."""
    return test.startswith(tuple(SLOW))


def is_fast(test: str, fixtures: set[str]) -> bool:
    """Whether `make check` runs this test: in its own process, without a live system."""
    return test.startswith(CHECKED) and not is_slow(test) and not fixtures & {"live", "new_live"}


CHECKED = (
    "tests/accounts",
    "tests/api",
    "tests/catalog",
    "tests/core",
    "tests/docs/test_english.py",
    "tests/docs/test_reference.py",
    "tests/live",
    "tests/mutants",
    "tests/openapi",
    "tests/web",
    "tests/worker",
)
