"""Receive the body of an upload; implements ``live.uploads.Receiver`` for a writer of a file."""

from collections.abc import Callable

from django.db import Error
from django.http import HttpResponse

from taskyard.files.errors import StorageUnavailable, UploadIncomplete
from taskyard.files.form import Form
from taskyard.files.models import StoredFile
from taskyard.files.writing import Writer


class Reception:
    """Writes the body, and makes the file whole unless ``completes`` is false.

    ``respond`` gets the whole file, or the file that waits for more; ``refuse_with`` the error. A
    resumable upload is kept if its client disconnects, and after an error that passes. With a
    ``boundary`` the body is a form with one file, which names the file unless ``keeps_name``.
    """

    def __init__(
        self,
        file: StoredFile,
        writer: Writer,
        *,
        respond: Callable[[StoredFile], HttpResponse],
        refuse_with: Callable[[Exception], HttpResponse],
        boundary: bytes | None = None,
        keeps_name: bool = False,
        sha256: str | None = None,
        resumable: bool = False,
        completes: bool = True,
    ) -> None:
        self._file = file
        self._writer = writer
        self._respond = respond
        self._refuse_with = refuse_with
        self._sha256 = sha256
        self._is_resumable = resumable
        self._completes = completes
        self._keeps_name = keeps_name
        self._form: Form | None = None
        self.write: Callable[[bytes], None] = writer.write
        if boundary is not None:
            self._form = Form(boundary, self._named, writer.write)
            self.write = self._form.write

    def complete(self) -> HttpResponse:
        if self._form is not None:
            self._form.finish()
        if self._completes:
            return self._respond(self._writer.complete(sha256=self._sha256))
        self._writer.pause()
        self._file.received = self._writer.received
        return self._respond(self._file)

    def refuse(self, error: Exception) -> HttpResponse:
        passes = isinstance(error, (Error, OSError, StorageUnavailable, UploadIncomplete))
        try:
            self._give_up(is_kept=passes)
        except Exception as other:
            if not isinstance(error, type(other)):
                other.__context__ = error
                return self._refuse_with(other)
        return self._refuse_with(error)

    def cut(self) -> None:
        self._give_up(is_kept=True)

    def _give_up(self, *, is_kept: bool) -> None:
        if self._is_resumable and is_kept:
            self._writer.pause()
        else:
            self._writer.discard()

    def _named(self, name: str) -> None:
        if not self._keeps_name:
            self._writer.rename(name)
