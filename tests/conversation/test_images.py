"""Pictures of the user's: from the bytes of a file to what a provider takes."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from trialogue import ConfigurationError, ImageContent

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)
JPEG = b"\xff\xd8\xff\xe0" + bytes(20)


@pytest.mark.parametrize(
    ("data", "kind"),
    [(PNG, "image/png"), (JPEG, "image/jpeg")],
    ids=["png", "jpeg"],
)
def test_picture_becomes_a_data_uri_of_its_type(data: bytes, kind: Any) -> None:
    picture = ImageContent.from_bytes(data, kind, detail="low")
    start, code = picture.url.split(",")
    assert (start, picture.detail) == (f"data:{kind};base64", "low")
    assert base64.b64decode(code, validate=True) == data
    assert ImageContent.from_bytes(data, kind).detail is None


@pytest.mark.parametrize("kind", ["image/gif", "image/webp", "image/jpg", "png", ""])
def test_type_that_no_provider_takes_is_refused_with_those_that_are(kind: Any) -> None:
    with pytest.raises(ConfigurationError, match="image/png or image/jpeg") as caught:
        ImageContent.from_bytes(PNG, kind)
    assert repr(kind) in str(caught.value)


@pytest.mark.parametrize(
    ("data", "kind"),
    [(JPEG, "image/png"), (PNG, "image/jpeg"), (b"", "image/png")],
    ids=["jpeg", "png", "nothing"],
)
def test_picture_that_is_not_what_it_is_called_is_refused(
    data: bytes, kind: Any
) -> None:
    """A provider would refuse it too, a round trip later."""
    with pytest.raises(ConfigurationError, match=f"{len(data)} bytes"):
        ImageContent.from_bytes(data, kind)
