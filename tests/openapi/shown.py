"""A model that holds itself, and another of the same name."""

from pydantic import BaseModel, create_model


class Place(BaseModel):
    name: str
    inside: "Place | None" = None


Other = create_model("Place", n=(int, ...))
