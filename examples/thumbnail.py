"""Make a small copy of an image."""

import io
from typing import Annotated

from PIL import Image, ImageOps, UnidentifiedImageError
from pydantic import Field

from taskyard import Accepts, Fail, InputFile, OutputFile, Run, task_type

# More pixels than this are refused: a small file can hold a very large image.
MOST_PIXELS = 50_000_000

Photo = Annotated[InputFile, Accepts("image/jpeg", "image/png", "image/webp", max_bytes=20_000_000)]
Width = Annotated[int, Field(ge=16, le=2000)]


@task_type("thumbnail", label="Make a thumbnail", timeout=60)
def thumbnail(run: Run, image: Photo, width: Width = 320) -> OutputFile:
    """Make a JPEG of this width, with the image's own proportions."""
    with image.open() as stream:
        try:
            opened = Image.open(stream, formats=["JPEG", "PNG", "WEBP"])  # reads the size only
            if opened.width * opened.height > MOST_PIXELS:
                raise Fail("image_too_large", f"{opened.width} x {opened.height} pixels")
            upright = ImageOps.exif_transpose(opened).convert("RGB")
        except Image.DecompressionBombError as error:
            raise Fail("image_too_large", str(error)) from error
        except (UnidentifiedImageError, OSError) as error:
            raise Fail("not_an_image", str(error)) from error
    upright.thumbnail((width, width * 4))
    made = io.BytesIO()
    upright.save(made, "JPEG", quality=85)
    stem = image.name.rpartition(".")[0] or image.name
    return run.save_file(f"{stem}-{width}.jpg", made.getvalue())
