"""Creates over HTTP: Taskyard with its worker stopped, the others with theirs."""

from contextlib import ExitStack

from benchmarks.figures import Figure, interleaved, ratio
from benchmarks.ground import ground
from benchmarks.load import Target
from benchmarks.peers.ordinary.served import served
from benchmarks.yard import yard

FORMS = {"ordinary": 8.0, "ordinary-kept": 3.0, "celery-per-task": None, "bare": 0.9}
CONNECTIONS = (8, 32)
# For the plot; one round of it.
SWEEP = (1, 2, 4, 16, 64)
USERS = 1000


def ask(rounds: int, short: bool) -> list[Figure]:
    seconds = 1 if short else 5
    with ExitStack() as stack:
        servers = stack.enter_context(ground())
        targets = {}
        names = ("ordinary", "bare") if short else tuple(FORMS)
        for name in names:
            form = stack.enter_context(served(servers, name, users=USERS, worked=False))
            targets[name] = Target(form.port, form.create_path, form.tokens)
        targets["taskyard"] = stack.enter_context(yard(servers.postgresql)).target
        figures = []
        for target in targets.values():
            if not short:
                target.create(8, 1)
        for connections in CONNECTIONS[-1:] if short else CONNECTIONS:
            found = interleaved(
                {
                    name: lambda target=target: target.create(connections, seconds).per_second  # noqa: B023
                    for name, target in targets.items()
                },
                rounds,
            )
            figures += [
                ratio(
                    f"create over HTTP, {connections} connections, against {name}",
                    at_least,
                    ("taskyard", found["taskyard"]),
                    (name, found[name]),
                )
                for name, at_least in FORMS.items()
                if name in names
            ]
        figures.append(_sweep(targets, figures, (2,) if short else SWEEP, min(seconds, 3)))
    return figures


def _sweep(
    targets: dict[str, Target], figures: list[Figure], counts: tuple[int, ...], seconds: int
) -> Figure:
    """What the plot of throughput against connections is drawn from."""
    raw: dict[str, list[float]] = {"connections": [float(count) for count in counts]}
    for name, target in targets.items():
        raw[name] = [target.create(count, seconds).per_second for count in counts]
    ours = ", ".join(
        f"{count}: {rate:,.0f}/s" for count, rate in zip(counts, raw["taskyard"], strict=True)
    )
    return Figure("create by connections (plot)", "", "", "", f"taskyard {ours}", None, raw)
