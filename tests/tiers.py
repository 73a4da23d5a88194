"""Which tests run when: see `tests/suite.py` and CONTRIBUTING.md.

A key is the beginning of a test's id. A test of `test-all` alone has its reason here.
"""

# What the kind of database says nothing about runs once: beside SQLite, or beside PostgreSQL.
ONCE = {
    "sqlite": (
        "tests/catalog",
        "tests/client/test_commands.py",
        "tests/client/test_parts.py",
        "tests/client/test_platforms.py",
        "tests/client/test_start.py",
        "tests/clients",
        "tests/dist",
        "tests/docs",
        "tests/mutants",
        "tests/openapi",
        "tests/postman",
        "tests/server/test_bridge.py",
        "tests/server/test_env.py",
        "tests/server/test_sqlite.py",
        "tests/server/test_up.py",
        "tests/web/staff/test_in_a_browser.py",
        "tests/web/test_browser.py",
    ),
    "postgresql": ("tests/benchmarks", "tests/server/test_export.py"),
}

SLOW = {
    "tests/benchmarks": "installs and runs the peers of the benchmarks",
    "tests/client/test_kills.py": "servers are killed under the client",
    "tests/client/test_surroundings.py": "terminals, pipes and proxies around the command line",
    "tests/clients": "five generators of clients are installed with npm",
    "tests/contract/test_brokers.py": "servers of Sentinel and of TLS",
    "tests/contract/test_faults.py": "workers are killed and stopped at random",
    "tests/contract/test_handlers_apart.py": "handlers hold transactions until their timeout",
    "tests/contract/test_live.py::test_a_stream_cut_and_resumed_50_times": "fifty streams in turn",
    "tests/contract/test_neighbours.py": "two live systems with 1,000 tasks each",
    "tests/contract/test_processes.py": "handlers start processes and wait for their end",
    "tests/contract/test_purge.py": "a backlog of old tasks is made and purged",
    "tests/contract/test_recycling.py": "200 tasks of 5 MB of garbage each",
    "tests/contract/test_refusals.py": "Redis refuses in seven ways",
    "tests/contract/test_whole_life.py::test_a_cancel_survives_a_full_outage": "leases run out",
    "tests/contract/test_whole_life.py::test_a_deploy_loses_nothing": "workers are replaced",
    "tests/contract/test_whole_life.py::test_what_outlasts_the_drain": "a drain of many seconds",
    "tests/dist/test_installed.py": "wheels are installed into empty environments",
    "tests/dist/test_wheels.py": "pip downloads wheels of other platforms",
    "tests/contrib/celery/test_join.py": "two workers start in each test, and are killed",
    "tests/contrib/celery/test_joined_load.py": "2,000 tasks for each figure",
    "tests/docs/test_how_to.py": "a report is killed in each of its steps",
    "tests/faults": "the table of faults in its short form",
    "tests/hostile": "the hostile programme: thousands of requests",
    "tests/openapi/test_document.py::test_a_linter_finds_nothing": "Spectral is installed with npm",
    "tests/postman": "newman is installed with npm",
    "tests/server/test_admission.py::test_logins_wait_for_each_other": "many passwords are hashed",
    "tests/server/test_admission.py::test_the_admin_is_no_way_round": "many passwords are hashed",
    "tests/server/test_authors_mistakes.py": "each mistake in each of five commands",
    "tests/server/test_backup.py": "a busy system is saved and restored elsewhere",
    "tests/server/test_behind_a_proxy.py": "every link of every page behind two kinds of proxy",
    "tests/server/test_export.py": "commands on five new databases, one killed again and again",
    "tests/server/test_logs.py": "a live system for each format of the log",
    "tests/server/test_pooler.py": "needs PgBouncer",
    "tests/server/test_up.py": "each child of `taskyard up` is killed and started again",
    "tests/web/staff/test_in_a_browser.py": "staff pages in Chromium while the broker stops",
    "tests/web/test_browser.py::test_a_broker_away": "an outage begins and ends",
    "tests/web/test_browser.py::test_a_server_away": "an outage begins and ends",
    "tests/web/test_browser.py::test_five_thousand_tasks": "5,000 tasks on one page",
    "tests/web/test_browser.py::test_pictures": "the pictures of the documentation",
    "tests/web/test_layout.py": "axe checks every page in four widths",
    "tests/worker/test_outages.py": "brokers hang, refuse and come back",
    "tests/worker/test_refusals.py": "Redis refuses in seven ways",
    "tests/worker/test_start.py": "workers start before their database",
    "tests/worker/test_timeouts.py": "300 timeouts at the end of a task",
}


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
