"""The fields that a browser without scripts would send of a form."""

from html.parser import HTMLParser

Fields = dict[str, list[str]]


class _Form(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.fields: Fields = {}
        self._inside = False
        self._name = ""
        self._text: list[str] = []

    def handle_starttag(self, tag: str, pairs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in pairs}
        if tag == "form":
            self._inside = given.get("id") == "new-task"
        if not self._inside:
            return
        if tag == "input" and given.get("type") in ("checkbox", "radio") and "checked" not in given:
            return
        if tag == "input":
            self._put(given["name"], given.get("value", ""))
        elif tag in ("textarea", "select"):
            self._name, self._text = given["name"], []
        elif tag == "option" and "selected" in given and self._name:
            self._put(self._name, given["value"])

    def handle_data(self, data: str) -> None:
        self._text.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea" and self._inside:
            # HTML ignores a line break right after the tag.
            self._put(self._name, "".join(self._text).removeprefix("\n"))
        elif tag == "form":
            self._inside = False

    def _put(self, name: str, value: str) -> None:
        self.fields.setdefault(name, []).append(value)


def sent_by(page: str) -> Fields:
    form = _Form()
    form.feed(page)
    return form.fields
