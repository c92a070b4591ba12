"""Waiting until what was said has been heard."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trialogue.audio.playout import Playout

__all__ = ["heard_to_the_end"]


async def heard_to_the_end(
    playout: Playout, item_ids: Iterable[str] | None = None
) -> bool:
    """Wait until these items (None: all) were played or cut; say if they were heard.

    Items of which no sound has come are passed over. What has been played, or cut, some
    hundreds of items ago is passed over as well.
    """
    if item_ids is None:
        meant = playout.unplayed
    else:
        meant = tuple(item_id for item_id in item_ids if playout.knows(item_id))
    await trio.lowlevel.checkpoint()
    heard = [await playout.wait_item(item_id) for item_id in meant]
    return all(one.complete for one in heard)
