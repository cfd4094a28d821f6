"""What the sections of the settings are made of."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from ingest.addresses import AddressesInvalid, read_addresses


class Section(BaseModel):
    """A section of the settings; unknown names are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _checked(text: str) -> str:
    try:
        read_addresses(text)
    except AddressesInvalid as invalid:
        raise ValueError(str(invalid)) from None
    return text


Port = Annotated[int, Field(ge=0, le=65535)]
PositiveInt = Annotated[int, Field(gt=0)]
Seconds = Annotated[float, Field(gt=0)]
AddressList = Annotated[str, AfterValidator(_checked)]
