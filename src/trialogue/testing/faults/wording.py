"""What the provider says when it refuses (protocol §2.3)."""

from __future__ import annotations

from typing import Final

__all__ = ["EXPIRED", "OVER_QUOTA", "QUOTA"]

EXPIRED: Final = "Your session hit the maximum duration of 60 minutes."
QUOTA: Final = "insufficient_quota"
OVER_QUOTA: Final = (
    "You exceeded your current quota, please check your plan and billing details."
)
