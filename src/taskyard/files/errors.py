"""Why a file is refused. Each has a code and does not depend on HTTP."""

from taskyard.core.errors import Rejected


class FileTooLarge(Rejected):
    """The file has more bytes than allowed (``limit``)."""

    code = "file_too_large"


class FileBytesExceeded(Rejected):
    """The owner's files take as many bytes as allowed (``limit``)."""

    code = "files_limit_exceeded"


class FileCountExceeded(Rejected):
    """The owner has as many files as allowed (``limit``)."""

    code = "file_count_exceeded"


class TooManyFiles(Rejected):
    """The task has saved as many files as allowed (``limit``)."""

    code = "too_many_files"


class StorageFull(Rejected):
    """The storage has no space."""

    code = "storage_full"


class StorageUnavailable(Rejected):
    """The storage cannot be reached or refuses us."""

    code = "storage_unavailable"
    retry_after = 5


class FileMissing(Rejected):
    """The storage answers, and has lost the bytes of the file (``name``)."""

    code = "file_missing"


class FileInUse(Rejected):
    """A task that has not ended uses the file."""

    code = "file_in_use"


class WrongOffset(Rejected):
    """The bytes do not begin where the upload stands (``offset``)."""

    code = "wrong_offset"


class UploadIncomplete(Rejected):
    """The body ended before its declared size."""

    code = "upload_incomplete"


class UploadGone(Rejected):
    """The file was swept while it was written: it took too long, or its attempt is over."""

    code = "upload_gone"


class DigestMismatch(Rejected):
    """The bytes do not have the SHA-256 that the client has declared."""

    code = "digest_mismatch"


class UploadActive(Rejected):
    """Another request writes this upload at the moment."""

    code = "upload_active"
    retry_after = 1


class FormInvalid(Rejected):
    """The body is not a form with one file, for a reason (``code``)."""

    code = "form_unreadable"

    def __init__(self, code: str) -> None:
        super().__init__()
        self.code = code


class DirectUnavailable(Rejected):
    """Clients cannot reach the storage themselves: upload here."""

    code = "direct_unavailable"
