"""Keep the files that a form has sent itself: small ones, from browsers without scripts."""

from django.core.files.uploadedfile import UploadedFile
from django.utils.datastructures import MultiValueDict

from taskyard.core import messages
from taskyard.core.errors import Rejected
from taskyard.core.types import UserId
from taskyard.files.models import StoredFile
from taskyard.files.writing import begin, first_writer
from taskyard.web.draft import Draft


def keep(
    owner_id: UserId, draft: Draft, uploads: "MultiValueDict[str, UploadedFile[bytes]]"
) -> dict[str, list[str]]:
    """Store the uploads of the draft's fields and choose them; the errors by field name."""
    errors: dict[str, list[str]] = {}
    for field in draft.file_fields():
        for upload in uploads.getlist(f"upload {field.name}"):
            try:
                draft.add_file(field, _store(owner_id, upload).pk)
            except Rejected as error:
                text = messages.of(error.code, error.code, error.params)
                errors.setdefault(field.name, []).append(f"{upload.name}: {text}")
    return errors


def _store(owner_id: UserId, upload: "UploadedFile[bytes]") -> StoredFile:
    """Raises FileTooLarge, FileBytesExceeded, StorageFull, StorageUnavailable."""
    file = begin(owner_id, upload.name or "", size=upload.size)
    writer = first_writer(file, is_size_known=True)
    try:
        for chunk in upload.chunks():
            writer.write(chunk)
        return writer.complete()
    except BaseException:
        writer.discard()
        raise
