"""From what was seen to the columns of the table.

Everything is made of two reports: what the server has received and made, and what the
client has played and said. All times are those of the machine's one monotonic clock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs

from trialogue.testing import decode

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from faults.rows import Row

__all__ = ["CAP", "Answer", "Figures", "answers", "figures_of", "wrong_seconds"]

CAP: Final = 20.0
"""Seconds that the caller waits for an answer, and no longer."""
MARK: Final = 0.01
BEFORE: Final = 0.019
AFTER: Final = 0.06
"""Seconds: an agent becomes current at the client, a response begins at the server, 20
ms away. What begins later than that after a handoff was begun after it; and who is told
of as current a little later may have asked for it."""


@attrs.frozen
class Answer:
    """How a sentence of the caller's was answered.

    Attributes:
        sentence: which.
        first, last: seconds from its end until the answer was first heard, and until
            its last sound; None if nothing of it was heard.
        whole: its end was heard.
        connection: on which connection it was made, or None.
        agent: under whose prompt, or None.
    """

    sentence: str
    first: float | None = None
    last: float | None = None
    whole: bool = False
    connection: int | None = None
    agent: str | None = None


@attrs.frozen(kw_only=True)
class Figures:
    """The columns of one row, for one client.

    Attributes:
        answers: to each sentence, in order.
        stall: seconds beyond the fault itself, over the same without a fault; of a row
            in which the session is left, how long that took. None if there was no
            answer while the caller waited.
        wrong: seconds heard under a prompt that was not in force.
        lost: ms of the caller's words that are in no turn that a server took.
        repeated: ms of the caller's sound that one connection was given twice, or of
            words that stand twice in one conversation.
        silence_lost: ms of the caller's silence that reached no server.
        unanswered: sentences of whose answer nothing was heard.
        cut: sentences whose answer was heard in part.
        tasks: tasks left behind.
        error: what was raised.
        told: the notices of errors, in order, without repeats.
        recovered: "same", "fresh" or "not", and with whom, if it is not refunds.
        problem: why there are no figures, or "".
    """

    answers: tuple[Answer, ...] = ()
    stall: float | None = None
    wrong: float = 0.0
    lost: int = 0
    repeated: int = 0
    silence_lost: int = 0
    unanswered: int = 0
    cut: int = 0
    tasks: int = 0
    error: str | None = None
    told: tuple[str, ...] = ()
    recovered: str = ""
    problem: str = ""


@attrs.frozen
class _Sound:
    """10 ms that were played."""

    at: float
    response: dict[str, Any]
    agent: str | None
    seq: int


def _sounds(client: dict[str, Any], pcm: bytes, server: dict[str, Any]) -> list[_Sound]:
    by_id = {one["response"]: one for one in server["responses"]}
    found, begin = [], 0
    for at, size in client["runs"]:
        for mark in decode(pcm[begin : begin + size]):
            response = by_id.get(server["marks"][mark.item])
            agent = server["prompts"].get(mark.config)
            if response is not None:
                moment = at + mark.position / 24_000
                found.append(_Sound(moment, response, agent, mark.seq))
        begin += size
    return found


def answers(
    client: dict[str, Any], sounds: Sequence[_Sound], lengths: dict[str, int]
) -> list[Answer]:
    """Return how each sentence was answered.

    Args:
        client: its report.
        sounds: what was played.
        lengths: how many marks the answer to each sentence has.
    """
    found = []
    for sentence, _, _, ended in client["said"]:
        heard = [s for s in sounds if s.response["answers"] == sentence]
        if not heard:
            found.append(Answer(sentence))
            continue
        found.append(
            Answer(
                sentence,
                heard[0].at - ended,
                heard[-1].at + MARK - ended,
                any(s.seq == lengths[sentence] - 1 for s in heard),
                heard[-1].response["connection"],
                heard[-1].agent,
            )
        )
    return found


def wrong_seconds(client: dict[str, Any], sounds: Iterable[_Sound]) -> float:
    """Return how much was heard under the prompt of an agent who was not current.

    Neither when the response was begun, nor when it was heard. What an agent has begun
    to say while it was current is rightly heard to its end; what was made under the
    prompt of one whose handoff failed is not.
    """
    return MARK * sum(
        sound.agent not in _current(client["agents"], sound.response["created"])
        and sound.agent not in _current(client["agents"], sound.at)
        for sound in sounds
    )


def _current(agents: Sequence[Sequence[Any]], at: float) -> set[str]:
    """Return who was current about that moment."""
    before = [agent for moment, agent in agents if moment <= at - BEFORE]
    about = [agent for moment, agent in agents if at - BEFORE < moment <= at + AFTER]
    return {*before[-1:], *about}


def _expand(runs: Iterable[Sequence[int]]) -> list[int]:
    return [number for first, last in runs for number in range(first, last + 1)]


def _words_lost(client: dict[str, Any], server: dict[str, Any], left: bool) -> int:
    """Return how many ms of sentences are missing in the turn that holds most of it."""
    missing = 0
    turns = [t for one in server["connections"] for t in one["turns"]]
    # What is said as the program leaves need not have arrived.
    for _, first, last, _ in client["said"][: -1 if left else None]:
        words = range(first, last + 1)
        most = max(
            (len({*_expand(turn["heard"])} & {*words}) for turn in turns), default=0
        )
        missing += len(words) - most
    return missing * 10


def _repeated(client: dict[str, Any], server: dict[str, Any]) -> int:
    """Return the ms that one connection has twice, in its sound or in its words."""
    twice = 0
    for one in server["connections"]:
        numbers = _expand(one["heard"])
        twice += 10 * (len(numbers) - len({*numbers}))
    if server["connections"]:
        users = server["connections"][-1]["users"]
        words = {name: last - first + 1 for name, first, last, _ in client["said"]}
        ms = 10 * max(words.values(), default=0)
        twice += ms * (len([u for u in users if u]) - len({u for u in users if u}))
    return twice


def _silence_lost(client: dict[str, Any], server: dict[str, Any]) -> int:
    """Return the ms of silence, up to the last sentence, that no server has."""
    if not client["said"]:
        return 0
    words = {number for _, a, b, _ in client["said"] for number in range(a, b + 1)}
    heard = {
        number for one in server["connections"] for number in _expand(one["heard"])
    }
    first = min(heard, default=0)
    until = client["said"][-1][2]
    return 10 * len({*range(first, until)} - heard - words)


def figures_of(
    row: Row,
    client: dict[str, Any],
    pcm: bytes,
    server: dict[str, Any],
    lengths: dict[str, int],
    base: Figures | None,
) -> Figures:
    """Return the columns of a row.

    Args:
        row: which.
        client: the report of the client.
        pcm: what it played.
        server: the report of the server.
        lengths: how many marks the answer to each sentence has.
        base: the same without a fault; None if this is that.
    """
    sounds = _sounds(client, pcm, server)
    found = answers(client, sounds, lengths)
    left = row.does == "leave"
    owed = found if not left else found[:1]  # the program has left before the next
    if not left and (not found or found[-1].sentence != "question"):
        owed.append(Answer("question"))  # the session had ended before
    if row.does == "speak":  # the caller has interrupted that one
        owed = [one for one in owed if one.sentence != "money"]
    told = tuple(dict.fromkeys(client["told"]))
    result = Figures(
        answers=tuple(found),
        wrong=round(wrong_seconds(client, sounds), 2),
        lost=_words_lost(client, server, left),
        repeated=_repeated(client, server),
        silence_lost=0 if left else _silence_lost(client, server),
        unanswered=sum(one.first is None for one in owed),
        cut=sum(one.first is not None and not one.whole for one in owed),
        tasks=client["tasks"],
        error=client["error"],
        told=told,
    )
    return attrs.evolve(
        result,
        stall=_leaving(row, client) if left else _stall(row, owed, base),
        recovered="left" if left else _recovered(found, base),
    )


def _leaving(row: Row, client: dict[str, Any]) -> float | None:
    if client["asked_to_leave"] is None or client["left"] is None:
        return None
    took: float = client["left"] - client["asked_to_leave"] - row.lasts
    return max(0.0, round(took, 2))


def _stall(row: Row, owed: Sequence[Answer], base: Figures | None) -> float | None:
    """The longest that the caller waited, over the same without a fault."""
    if base is None:
        return 0.0
    usual = {one.sentence: one for one in base.answers}
    usual["wait"] = usual["question"]
    waits = []
    for one in owed:
        was = usual[one.sentence]
        if one.first is None or one.last is None or was.first is None:
            return None
        assert was.last is not None
        waits += [one.first - was.first, one.last - was.last if one.whole else 0.0]
    return max(0.0, round(max(waits, default=0.0) - row.lasts, 2))


def _recovered(found: Sequence[Answer], base: Figures | None) -> str:
    last = found[-1] if found else Answer("")
    if last.sentence != "question" or last.connection is None:
        return "not"
    usual = base.answers[-1].connection if base is not None else last.connection
    over = "same" if last.connection == usual else "fresh"
    who = last.agent or "no prompt of ours"
    return over if who == "refunds" else f"{over}, with {who}"
