"""Handoffs that fail: whatever goes wrong, the right agent speaks, or nobody does."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from trialogue import Handoff, HandoffError, RunContext
from trialogue.agents.events import (
    AgentEntered,
    HandoffCompleted,
    HandoffFailed,
    HandoffStarted,
)
from trialogue.conversation.items import FunctionCall, FunctionCallOutput
from trialogue.errors import ServerError
from trialogue.realtime.requests import RequestState
from trialogue.testing import (
    Call,
    Fault,
    Say,
    close,
    cut,
    lose,
    refuse_upgrade,
    reject,
    silence,
    silent_connect,
    swallow,
)
from watched import Kelly, Sunny, Watch, asks_for, brain, for_sunny, say, until, watched

FAILED = "handoff failed: Sunny could not take over"
PERMANENT = (
    "unknown_parameter",
    "invalid_value",
    "missing_required_parameter",
    "string_above_max_length",
)
PASSING = ("cannot_update_voice", "server_error")

reused_or_fresh = pytest.mark.parametrize(
    "fresh", [False, True], ids=["reuse", "fresh"]
)
by_id_or_not = pytest.mark.parametrize("null_id", [False, True], ids=["id", "null"])


async def transfer(watch: Watch) -> float:
    """Have the model hand over to Sunny; return when that was decided, once settled."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(say, watch, "please transfer")
        await until(lambda: watch.of(HandoffStarted))
        await until(
            lambda: (
                watch.of(HandoffCompleted)
                or watch.of(HandoffFailed)
                or watch.over.is_set()
            ),
            15,
        )
    return watch.of(HandoffStarted)[-1][0]


async def goes_on_with(watch: Watch, name: str) -> None:
    """The next words of the user are answered by this agent, its tools, its voice."""
    await watch.quiet()
    assert watch.raised is None
    assert type(watch.session.agent).__name__ == name
    await say(watch, "look around")
    await watch.quiet()
    assert watch.ran[-1] == (name, name)
    assert watch.heard()[-1][2] == name
    watch.check()


def conversation(watch: Watch) -> list[tuple[str, str]]:
    """Return what the server holds that served last, as (type, words)."""
    served = [one for one in watch.connections if one.find("session.update", "in")]
    return [(held.item.type, _words(held)) for held in served[-1].conversation]


def _words(held: Any) -> str:
    if held.item.type == "message":
        return str(held.text)
    return str(getattr(held.item, "output", None) or held.item.name)


# --- rejected for good ---------------------------------------------------------------


@pytest.mark.behaviour("H4", "H22")
@reused_or_fresh
@by_id_or_not
@pytest.mark.parametrize("code", PERMANENT)
async def test_a_permanent_rejection_raises_in_the_waiter_and_the_old_agent_goes_on(
    autojump_clock: trio.testing.MockClock, code: str, null_id: bool, fresh: bool
) -> None:
    """HandoffError with what the server said; Kelly is back without `on_enter`."""
    fault = reject("session.update", code=code, null_id=null_id, match=for_sunny)
    async with watched(fault, fresh=fresh) as watch:
        await say(watch, "hello")
        with pytest.raises(HandoffError, match=code) as raised:
            await watch.session.handoff(Sunny())
        error = raised.value
        assert (error.previous, error.next) == ("Kelly", "Sunny")
        assert isinstance(error.__cause__, ServerError)
        assert error.__cause__.code == code
        assert error.report.requests[0].kind == "UpdateSession"
        assert error.report.requests[0].state is RequestState.REJECTED
        await goes_on_with(watch, "Kelly")
        ((_, failed),) = watch.of(HandoffFailed)
        assert (failed.previous, failed.next) == ("Kelly", "Sunny")
        assert watch.entered == ["Kelly", "Sunny"]
        assert "Sunny" not in [who for _, _, who in watch.heard()]
        if not fresh:
            assert len(watch.connections) == 1
            assert len(watch.connections[0].find("session.update", "in")) == 2


@pytest.mark.behaviour("H4", "H22")
@reused_or_fresh
@by_id_or_not
async def test_a_permanent_rejection_is_told_to_the_model_which_answers_the_user(
    autojump_clock: trio.testing.MockClock, null_id: bool, fresh: bool
) -> None:
    """The call's output says that it failed, once, in its place; Kelly speaks."""
    fault = reject(
        "session.update", code=PERMANENT[0], null_id=null_id, match=for_sunny
    )
    async with watched(fault, fresh=fresh) as watch:
        await transfer(watch)
        await watch.quiet()
        assert watch.outputs() == [FAILED]
        assert conversation(watch) == [
            ("message", "please transfer"),
            ("message", "One moment please."),
            ("function_call", "transfer"),
            ("function_call_output", FAILED),
            ("message", "Kelly speaking."),
        ]
        assert [e.agent for _, e in watch.of(AgentEntered)] == [
            "Kelly",
            "Sunny",
            "Kelly",
        ]
        assert watch.entered == ["Kelly", "Sunny"]
        await goes_on_with(watch, "Kelly")
        assert len(watch.connections) == (3 if fresh else 1)


# --- rejected for a reason that passes, unanswered, lost -----------------------------


UPDATE, OUTPUT = ("session.update", for_sunny), asks_for("function_call_output")
BURST = (UPDATE, ("conversation.item.create", OUTPUT), ("response.create", for_sunny))
ANSWERS = (("session.updated", for_sunny), ("conversation.item.added", OUTPUT))


def _cuts() -> dict[str, Fault]:
    faults: dict[str, Fault] = {}
    for kind, match in (*BURST, *ANSWERS):
        faults[f"cut-before-{kind}"] = cut(before=kind, match=match)
        faults[f"cut-after-{kind}"] = cut(after=kind, match=match)
    for kind, match in BURST:
        faults[f"1011-before-{kind}"] = close(1011, before=kind, match=match)
        faults[f"1011-after-{kind}"] = close(1011, after=kind, match=match)
    faults["cut-within-updated"] = cut(
        before="session.updated", after_bytes=20, match=for_sunny
    )
    return faults


def _refusals() -> dict[str, Fault]:
    return {
        f"{code}-{'null' if null_id else 'id'}": reject(
            "session.update", code=code, null_id=null_id, match=for_sunny
        )
        for code in PASSING
        for null_id in (False, True)
    }


FALLING_BACK: dict[str, Fault] = {
    **_refusals(),
    **_cuts(),
    "silent-server": silence(before="session.update", match=for_sunny),
    "silent-behind-updated": silence(after="session.updated", match=for_sunny),
}


@pytest.mark.behaviour("H4")
@reused_or_fresh
@pytest.mark.parametrize("name", FALLING_BACK)
async def test_other_failures_go_on_over_a_fresh_connection_with_the_new_agent(
    autojump_clock: trio.testing.MockClock, name: str, fresh: bool
) -> None:
    """Refused for now, cut or closed at each message: Sunny takes over elsewhere."""
    async with watched(FALLING_BACK[name], fresh=fresh) as watch:
        decided = await transfer(watch)
        await goes_on_with(watch, "Sunny")
        assert len(watch.connections) == (3 if fresh else 2)
        assert watch.of(HandoffFailed) == []
        assert watch.entered == ["Kelly", "Sunny"]
        assert watch.outputs()[0] == "transferred to Sunny"
        assert [who for at, _, who in watch.heard() if at > decided][-1] == "Sunny"
        last = conversation(watch)
        assert [words for kind, words in last if kind != "message"][:2] == [
            "transfer",
            "transferred to Sunny",
        ]


@pytest.mark.behaviour("H4")
@reused_or_fresh
@pytest.mark.parametrize("fault", [swallow, lose], ids=["answer", "update"])
async def test_an_update_that_stays_unanswered_goes_on_over_a_fresh_connection(
    autojump_clock: trio.testing.MockClock, fault: Any, fresh: bool
) -> None:
    """Sunny, whose first reply carried everything itself, is heard at once."""
    kind = "session.updated" if fault is swallow else "session.update"
    on = 1 if fresh else 0
    async with watched(
        fault(kind, nth=None, connection=on, match=for_sunny), fresh=fresh
    ) as watch:
        await say(watch, "hello")
        timings = await watch.session.handoff(Sunny())
        assert 1.5 < timings.acknowledged - timings.committed < 2.0
        assert timings.first_audio - timings.committed < 0.5
        await goes_on_with(watch, "Sunny")
        assert len(watch.connections) == on + 2
        assert watch.entered == ["Kelly", "Sunny"]


@pytest.mark.behaviour("H4")
@reused_or_fresh
async def test_a_lost_answer_costs_nothing_when_the_repeated_update_is_answered(
    autojump_clock: trio.testing.MockClock, fresh: bool
) -> None:
    """Swallowed session.updated: heard at once, said again in full, no reconnect."""
    fault = swallow("session.updated", match=for_sunny)
    async with watched(fault, fresh=fresh) as watch:
        await say(watch, "hello")
        await watch.session.wait_for_playout()
        timings = await watch.session.handoff(Sunny())
        await watch.quiet()
        connection = watch.connections[-1]
        assert len(watch.connections) == (2 if fresh else 1)
        first, again = [
            entry
            for entry in connection.find("session.update", "in")
            if for_sunny(entry.event)
        ]
        assert again.event["session"].keys() >= {"instructions", "tools", "audio"}
        assert "format" not in again.event["session"]["audio"].get("output", {})
        (updated,) = connection.find("session.updated", "out")[-1:]
        assert timings.acknowledged == pytest.approx(updated.time + 0.02, abs=0.002)
        assert timings.burst_written == pytest.approx(first.time - 0.02, abs=0.002)
        # The reply that was asked for with the burst is the one that was heard.
        asked = connection.find("response.create", "in")[0 if fresh else 1]
        heard = [at for at, _, who in watch.heard() if who == "Sunny"]
        assert heard[0] - asked.time < 0.15
        await goes_on_with(watch, "Sunny")


# --- given up ------------------------------------------------------------------------

GIVEN_UP: dict[str, list[Any]] = {
    "refused": [
        reject("session.update", code="server_error", nth=None, match=for_sunny)
    ],
    "refused-otherwise": [
        reject("session.update", code="server_error", match=for_sunny),
        reject("session.update", code="invalid_value", nth=2, match=for_sunny),
    ],
    "cut": [cut(before="session.update", nth=None, match=for_sunny)],
    "lost": [lose("session.update", nth=None, match=for_sunny)],
    "swallowed": [swallow("session.updated", nth=None, match=for_sunny)],
    "silent": [silence(before="session.update", nth=None, match=for_sunny)],
    "unreachable": [
        cut(before="session.update", match=for_sunny),
        silent_connect(2, skip=1),  # a dial that hangs has another beside it
    ],
    "key-revoked": [
        cut(before="session.update", match=for_sunny),
        refuse_upgrade(401, skip=1),
    ],
}


@pytest.mark.behaviour("H4", "H22")
@reused_or_fresh
@pytest.mark.parametrize("policy", ["keep", "fresh"])
@pytest.mark.parametrize("name", GIVEN_UP)
async def test_a_handoff_given_up_re_enters_the_old_agent_with_its_history(
    autojump_clock: trio.testing.MockClock, name: str, policy: str, fresh: bool
) -> None:
    """Nothing helped: the history is as it was at the commit, the call reads failed.

    The server that serves in the end holds it too, also where the policy had deleted
    it; the user gets the answer that is owed within the budget of five seconds.
    """
    first = Kelly()
    first.policy = policy
    async with watched(*GIVEN_UP[name], fresh=fresh, first=first) as watch:
        await say(watch, "hello")
        await watch.quiet()
        decided = await transfer(watch)
        ((failed, _),) = watch.of(HandoffFailed)
        assert failed - decided < 5.01
        await watch.quiet()
        assert watch.session.agent is first
        history = [
            ("message", "hello"),
            ("message", "Kelly speaking."),
            ("message", "please transfer"),
            ("message", "One moment please."),
            ("function_call", "transfer"),
            ("function_call_output", FAILED),
        ]
        assert conversation(watch)[:6] == history
        assert conversation(watch)[-1] == ("message", "Kelly speaking.")
        back = [at for at, _, who in watch.heard() if who == "Kelly" and at > failed]
        assert back[0] - failed < 0.5
        await goes_on_with(watch, "Kelly")
        assert watch.entered == ["Kelly", "Sunny"]
        answered = [i for i in watch.session.chat_ctx if hasattr(i, "call_id")]
        calls = [i.call_id for i in answered if isinstance(i, FunctionCall)]
        outputs = [i.call_id for i in answered if isinstance(i, FunctionCallOutput)]
        assert calls == outputs


@pytest.mark.behaviour("H4", "H22")
@reused_or_fresh
@pytest.mark.parametrize("policy", ["keep", "fresh"])
@pytest.mark.parametrize("name", ["refused-otherwise", "unreachable"])
async def test_the_outputs_of_siblings_survive_a_failed_handoff(
    autojump_clock: trio.testing.MockClock, name: str, policy: str, fresh: bool
) -> None:
    """Two calls in one response: the other one's output is kept as it was."""

    def think(turn: Any) -> Any:
        if "transfer" in turn.user_text and turn.output is None:
            look = Call("look", {"made_by": "Kelly"})
            return [look, Call("transfer")]
        return Say("Kelly speaking." if "Kelly" in turn.instructions else "Sunny.")

    first = Kelly()
    first.policy = policy
    faults = GIVEN_UP[name]
    async with watched(*faults, fresh=fresh, first=first, think=think) as watch:
        await transfer(watch)
        await watch.quiet()
        assert conversation(watch)[1:] == [
            ("function_call", "look"),
            ("function_call", "transfer"),
            ("function_call_output", "clear sky"),
            ("function_call_output", FAILED),
            ("message", "Kelly speaking."),
        ]
        assert watch.outputs() == ["clear sky", FAILED]


@pytest.mark.behaviour("H4")
@reused_or_fresh
async def test_what_the_failed_agent_still_had_to_say_is_cut(
    autojump_clock: trio.testing.MockClock, fresh: bool
) -> None:
    """A long introduction, made in no time, falls silent when the handoff fails."""

    def think(turn: Any) -> Any:
        introducing = "Introduce" in (turn.override or "")
        return Say("Sunny talks and talks.", ms=20_000) if introducing else brain(turn)

    fault = swallow("session.updated", nth=None, match=for_sunny)
    async with watched(fault, fresh=fresh, think=think) as watch:
        await transfer(watch)
        ((failed, _),) = watch.of(HandoffFailed)
        await watch.quiet()
        sunny = [at for at, _, who in watch.heard() if who == "Sunny"]
        assert sunny
        assert max(sunny) <= failed + 0.0101
        await goes_on_with(watch, "Kelly")


@pytest.mark.behaviour("H4")
@reused_or_fresh
async def test_a_failed_handoff_to_a_silent_agent_leaves_the_old_one_silent(
    autojump_clock: trio.testing.MockClock, fresh: bool
) -> None:
    """Nobody was to speak and nobody is owed an answer: nothing is asked for."""

    class Mute(Sunny):
        async def begin(self, ctx: RunContext) -> None:
            return

    fault = reject("session.update", code="invalid_value", match=for_sunny)
    async with watched(fault, fresh=fresh) as watch:
        await say(watch, "hello")
        with pytest.raises(HandoffError):
            await watch.session.handoff(Handoff(Mute(), reply="none"))
        await trio.sleep(10)
        assert len(watch.sent("response.create")) == 1
        await goes_on_with(watch, "Kelly")


# --- raising -------------------------------------------------------------------------


@pytest.mark.behaviour("H4", "H7")
@reused_or_fresh
async def test_on_handoff_error_raise_ends_the_run_with_the_error(
    autojump_clock: trio.testing.MockClock, fresh: bool
) -> None:
    """Who asked for it gets HandoffError from `run`; the waiter gets it as well."""
    fault = reject("session.update", code="invalid_value", match=for_sunny)
    async with watched(fault, fresh=fresh, on_handoff_error="raise") as watch:
        await say(watch, "hello")
        with pytest.raises(HandoffError):
            await watch.session.handoff(Sunny())
        with trio.fail_after(1):
            await watch.over.wait()
        assert isinstance(watch.raised, HandoffError)
        assert (watch.raised.previous, watch.raised.next) == ("Kelly", "Sunny")
        assert watch.session.agent is None
        watch.check()


@pytest.mark.behaviour("H4", "H7")
async def test_if_restoring_fails_too_run_raises(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Neither the new agent nor, on a fresh connection, the old one is accepted."""
    faults = [
        reject("session.update", code="invalid_value", connection=1),
        reject("session.update", code="invalid_value", connection=2),
    ]
    async with watched(*faults, fresh=True) as watch:
        await transfer(watch)
        with trio.fail_after(5):
            await watch.over.wait()
        assert isinstance(watch.raised, HandoffError)
        assert "Kelly could not be restored" in str(watch.raised)
        assert isinstance(watch.raised.__cause__, ServerError)
        assert watch.entered == ["Kelly", "Sunny"]
        watch.check()


class Stumbling(Sunny):
    """Its `on_enter` fails, after so many seconds."""

    after = 0.0

    async def begin(self, ctx: RunContext) -> None:
        await trio.sleep(self.after)
        msg = "the weather station is down"
        raise LookupError(msg)


@pytest.mark.behaviour("H7")
@reused_or_fresh
@pytest.mark.parametrize("after", [0.0, 3.0], ids=["at-once", "once-agreed"])
async def test_what_on_enter_raises_comes_out_of_run_as_itself(
    autojump_clock: trio.testing.MockClock, after: float, fresh: bool
) -> None:
    """The very exception, no group; nobody is current, the block still closes well."""

    class ToStumbling(Kelly):
        async def begin(self, ctx: RunContext) -> None:
            agent = Stumbling()
            agent.after = after
            ctx.session.nursery.start_soon(hand_over, ctx.session, agent)

    async def hand_over(session: Any, agent: Sunny) -> None:
        try:
            await session.handoff(agent)
        except HandoffError as error:
            waiting.append(error)

    waiting: list[HandoffError] = []
    async with watched(fresh=fresh, first=ToStumbling()) as watch:
        with trio.fail_after(10):
            await watch.over.wait()
        assert type(watch.raised) is LookupError
        assert watch.session.agent is None
        assert watch.session.realtime.open_work["queued"] == 0
        # Whoever waited for this handoff is told, if it had not been agreed by then.
        await until(lambda: after or waiting, 5)
        assert len(waiting) == (0 if after else 1)
        watch.check()
    assert watch.connections[-1].close_code == 1000


# --- time ----------------------------------------------------------------------------


@pytest.mark.behaviour("H4")
@reused_or_fresh
async def test_a_silent_server_costs_less_than_five_seconds_of_silence(
    autojump_clock: trio.testing.MockClock, fresh: bool
) -> None:
    """Dead air from the decision to Sunny's first word, on another connection."""
    fault = silence(before="session.update", match=for_sunny)
    async with watched(fault, fresh=fresh) as watch:
        await say(watch, "hello")
        await watch.session.wait_for_playout()
        timings = await watch.session.handoff(Sunny())
        await watch.quiet()
        heard = [at for at, _, who in watch.heard() if who == "Sunny"]
        assert heard[0] - timings.committed < 3.0
        assert timings.acknowledged - timings.committed < 3.0
        await goes_on_with(watch, "Sunny")


@pytest.mark.behaviour("H4")
@reused_or_fresh
@pytest.mark.parametrize("name", ["silent", "unreachable"])
async def test_servers_that_stay_silent_cost_five_seconds_and_kelly_goes_on(
    autojump_clock: trio.testing.MockClock, name: str, fresh: bool
) -> None:
    """The waiter has its error after exactly the budget, the user then hears Kelly."""
    async with watched(*GIVEN_UP[name], fresh=fresh) as watch:
        await say(watch, "hello")
        await watch.session.wait_for_playout()
        began = trio.current_time()
        with pytest.raises(HandoffError, match="in time"):
            await watch.session.handoff(Sunny())
        assert trio.current_time() - began == pytest.approx(5.0, abs=0.01)
        await until(lambda: watch.of(HandoffFailed))
        await watch.quiet()
        assert watch.silence_after(began) < 5.5
        await goes_on_with(watch, "Kelly")


@pytest.mark.behaviour("H4", "H7")
@reused_or_fresh
async def test_a_server_that_never_answers_again_ends_the_run_with_an_error(
    autojump_clock: trio.testing.MockClock, fresh: bool
) -> None:
    """Every later connection is accepted and silent: bounded, typed, nothing hangs."""
    faults = [silence(before="session.update", match=for_sunny)]
    faults += [silence(before="session.update", connection=n) for n in range(1, 30)]
    async with watched(*faults, fresh=fresh) as watch:
        decided = await transfer(watch)
        ((failed, _),) = watch.of(HandoffFailed)[:1]
        assert failed - decided < 5.01
        with trio.fail_after(40):
            await watch.over.wait()
        assert isinstance(watch.raised, HandoffError)
        assert watch.entered == ["Kelly", "Sunny"]
        watch.check()
