"""The paths of views, read from Django's URL patterns, so that urls.py is their only list."""

import re
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from django.urls import URLPattern, URLResolver, get_resolver

View = Callable[..., Any]
MarkedView = TypeVar("MarkedView", bound=View)


class ViewPaths:
    """Matches the paths of the views for which ``is_wanted`` returns true.

    It compiles one regular expression for each URL pattern, because ``django.urls.resolve`` takes
    tens of microseconds and the event loop matches every GET.
    """

    def __init__(self, is_wanted: Callable[[View], bool]) -> None:
        self._patterns = [re.compile(regex) for regex, view in _routes() if is_wanted(view)]

    def match(self, path: str) -> re.Match[str] | None:
        """The match of a path below SCRIPT_NAME; its named groups are the view's arguments.

        The last slash is optional, because the API and the pages accept paths without it.
        """
        for pattern in self._patterns:
            if match := pattern.match(path):
                return match
        return None if path.endswith("/") else self.match(f"{path}/")


def answered_by(application: type) -> Callable[[MarkedView], MarkedView]:
    """Decorate a view, a function or a class: requests to it go through this live application."""

    def mark(view: MarkedView) -> MarkedView:
        marked: Any = view
        marked.live_application = application
        return view

    return mark


def application_of(view: View) -> Any:
    """The live application that a view is marked with, or None."""
    return getattr(view, "live_application", None)


def live_applications() -> list[Any]:
    """The live applications of the views in the URL configuration."""
    marked = (application_of(view) for view in views())
    return list(dict.fromkeys(application for application in marked if application is not None))


def views() -> Iterator[View]:
    """All views of the URL configuration: functions, or the classes behind ``as_view``."""
    return (view for _, view in _routes())


def _routes() -> Iterator[tuple[str, View]]:
    """The regular expression of each URL pattern of the project, and its view."""
    resolver = get_resolver()
    return _routes_below(resolver, resolver.pattern.regex.pattern)


def _routes_below(resolver: URLResolver, prefix: str) -> Iterator[tuple[str, View]]:
    for entry in resolver.url_patterns:
        # Each part is anchored at the end of the part before it, as in Django's ``reverse``.
        regex = prefix + entry.pattern.regex.pattern.removeprefix("^")
        if isinstance(entry, URLResolver):
            yield from _routes_below(entry, regex)
        elif isinstance(entry, URLPattern):
            yield regex, getattr(entry.callback, "view_class", entry.callback)
