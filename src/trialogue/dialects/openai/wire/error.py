"""The error object of the `error` event (protocol §2.3)."""

import attrs

from trialogue.dialects.openai.wire.base import UNSET, Nullable

__all__ = ["ErrorDetails"]


@attrs.frozen(kw_only=True)
class ErrorDetails:
    """What went wrong. `event_id` is that of the client event at fault, if named."""

    type: Nullable[str] = UNSET
    code: Nullable[str] = UNSET
    message: Nullable[str] = UNSET
    param: Nullable[str] = UNSET
    event_id: Nullable[str] = UNSET
