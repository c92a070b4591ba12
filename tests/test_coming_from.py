"""The page for those who come from elsewhere: each row of ours does what it says.

A row is a heading of the third level, and has one block of Python. It is run with the
names of the rows above it in its chapter, on a stage that its check sets up.
"""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio

import trialogue
import trialogue.events
from stage import model_of
from trialogue import Agent, Message, OpenAIRealtime, ServerVAD, SessionOptions
from trialogue.audio import MemoryOutput, PcmInput
from trialogue.events import GuardrailTripped
from trialogue.testing import (
    AgentRun,
    Call,
    Rule,
    Say,
    Utterances,
    in_virtual_time,
    open_realtime_server,
    quiet,
    run_agent,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from trialogue.testing import Brain, RealtimeServer, Reply, Turn

PAGE = Path(__file__).parents[1] / "docs" / "coming_from.md"
TEXT = PAGE.read_text(encoding="utf-8")
OPEN = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
PLAIN = "You are plain."
DEFINITIONS = (
    ast.AsyncFunctionDef,
    ast.ClassDef,
    ast.FunctionDef,
    ast.Import,
    ast.ImportFrom,
)
MANUAL = SessionOptions(turn_detection=None)


@attrs.define
class Row:
    """One row: what it is called, and its code with what that needs."""

    chapter: str
    title: str
    theirs: str = attrs.field(repr=False)
    ours: str = attrs.field(repr=False)
    above: tuple[Row, ...] = attrs.field(repr=False)
    names: dict[str, Any] = attrs.field(factory=dict, repr=False)

    @property
    def code(self) -> Any:
        return compile(self.ours, f"{PAGE.name}: {self.title}", "exec", OPEN)

    @property
    def awaits(self) -> bool:
        return bool(self.code.co_flags & inspect.CO_COROUTINE)

    async def run(self, **given: Any) -> None:
        """Run it, with all that the rows above have defined."""
        self.names = {"__name__": "coming_from"}
        for row in self.above:
            exec(compile(row.definitions, row.title, "exec"), self.names)
        self.names |= given
        running = eval(self.code, self.names)
        if running is not None:
            await running

    @property
    def definitions(self) -> str:
        """What a row below may need: what it defines, and what it names by itself."""
        kinds = DEFINITIONS if self.awaits else (*DEFINITIONS, ast.Assign)
        tree = ast.parse(self.ours)
        tree.body = [node for node in tree.body if isinstance(node, kinds)]
        return ast.unparse(tree)

    def __getitem__(self, name: str) -> Any:
        return self.names[name]


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def rows() -> list[Row]:
    found: list[Row] = []
    for chapter in re.split(r"^## ", TEXT, flags=re.MULTILINE)[1:]:
        above: tuple[Row, ...] = ()
        for section in re.split(r"^### ", chapter, flags=re.MULTILINE)[1:]:
            title, _, body = section.partition("\n")
            (theirs,) = re.findall(r"^```py\n(.*?)^```", body, re.MULTILINE | re.DOTALL)
            (ours,) = re.findall(
                r"^```python\n(.*?)^```", body, re.MULTILINE | re.DOTALL
            )
            row = Row(chapter.partition("\n")[0], title, theirs, ours, above)
            above = (*above, row)
            found.append(row)
    return found


ROWS = rows()
CHECKS: dict[str, Callable[[Row], Coroutine[Any, Any, None]]] = {}


def checks(title: str) -> Callable[[Any], Any]:
    def register(check: Any) -> Any:
        assert title not in CHECKS
        CHECKS[title] = check
        return check

    return register


def test_each_row_has_a_check_and_each_check_a_row() -> None:
    assert [row.title for row in ROWS] == list(CHECKS)
    assert len(ROWS) > 30


@pytest.mark.behaviour("M25")
@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.chapter}: {row.title}")
@in_virtual_time
async def test_our_side_of_a_row_does_what_it_says(row: Row) -> None:
    with trio.fail_after(300):
        await CHECKS[row.title](row)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.chapter}: {row.title}")
def test_their_side_of_a_row_is_python(row: Row) -> None:
    """Not more than that can be said of it here; it may be a part of a class."""
    source = row.theirs
    if source.startswith(" "):
        source = f"class Part:\n{source}"
    compile(source, row.title, "exec", OPEN)


@pytest.mark.behaviour("M25")
def test_events_in_the_tables_are_ours() -> None:
    """Those cells that begin with a name."""
    cells = re.findall(r"^\| `[^|]* \| `(\w+)`", TEXT, re.MULTILINE)

    assert len(cells) > 15
    assert [name for name in cells if name not in trialogue.events.__all__] == []


# --- stages -------------------------------------------------------------------


def plain() -> Agent:
    return Agent(PLAIN, name="Plain")


async def on(run: AgentRun[Any], row: Row, *replies: Any, **given: Any) -> Any:
    """Run a row as a turn of a conversation; return the turn."""
    async with run.exchange(*replies) as turn:
        await row.run(session=run.session, **given)
    return turn


async def opened(row: Row, brain: Brain | str, words: str) -> RealtimeServer:
    """Run a row that opens a session itself, over a line on which somebody speaks."""
    clips = Utterances()
    said = clips.say(words) + quiet(3000)
    answering = brain if callable(brain) else lambda turn: brain
    async with open_realtime_server(answering, utterances=clips) as server:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(trialogue, "OpenAIRealtime", served_by(server))
            speaker = MemoryOutput()
            await row.run(microphone=PcmInput(said), speaker=speaker)
            row.names["played"] = server.heard(speaker.pcm)
        return server


def served_by(server: RealtimeServer) -> Callable[..., OpenAIRealtime]:
    def model(name: str = "gpt-realtime", **options: Any) -> OpenAIRealtime:
        shown = model_of(server)
        return OpenAIRealtime(
            name,
            api_key="sk-test-key",
            base_url=shown.base_url,
            connect=server.connect,
            **options,
        )

    return model


def sent(run: AgentRun[Any], kind: str) -> list[Any]:
    """The events of a type that went to the server."""
    return [
        entry.event
        for connection in run.server.connections
        for entry in connection.find(kind, "in")
    ]


# --- LiveKit Agents -----------------------------------------------------------


@checks("An agent and its tools")
async def _(row: Row) -> None:
    await row.run()
    async with run_agent(row["Assistant"]()) as run:
        call = Call("look_up", {"city": "Oslo"})
        turn = await run.say("Is it sunny in Oslo?", call, "It is.")
        assert turn.called("look_up", city="Oslo").output == "sunny in Oslo"


@checks("A session")
async def _(row: Row) -> None:
    server = await opened(row, "It is sunny.", "Is it sunny?")
    (connection,) = server.connections
    assert [turn.text for turn in connection.committed] == ["Is it sunny?"]
    assert connection.responses[0].voice == "marin"
    assert {text for _, text, _ in row["played"]} == {"You tell the weather."}


@checks("Speaking first")
async def _(row: Row) -> None:
    await row.run()
    async with run_agent(row["Greeter"](), replies=["Hello!"]) as run:
        assert run.opening.said("hello").instructions.endswith("Greet the caller.")


async def transferring(row: Row, agent: str) -> Turn:
    """Let an agent transfer to billing; return what the model was given then."""
    await row.run()
    async with run_agent(row[agent]()) as run:
        await run.say("Hello.", "What is it about?")
        turn = await run.say("An invoice.", Call("to_billing"), "Billing here.")
        assert turn.handed_off_to("Billing").reused
        return turn.said("billing here", agent="Billing").prompt


@checks("Handing over")
async def _(row: Row) -> None:
    said = (await transferring(row, "Desk")).said
    assert ("assistant", "What is it about?") in said


@checks("Handing over without the conversation")
async def _(row: Row) -> None:
    said = (await transferring(row, "Forgetful")).said
    assert [role for role, _ in said if role in ("user", "assistant")] == []
    assert said[-1] == ("system", "The caller is called Ann.")


@checks("Handing over from outside")
async def _(row: Row) -> None:
    async with run_agent(plain()) as run:
        turn = await on(run, row, "Billing here.")
        turn.handed_off_to("Billing")


@checks("Asking for a reply")
async def _(row: Row) -> None:
    async with run_agent(plain()) as run:
        turn = await on(run, row, "We are.")
        reply = turn.said("we are")
        assert reply.prompt.user_text == "Are you open?"
        assert reply.instructions == f"{PLAIN}\n\nBe brief."
        assert row["outcome"].text == "We are."


@checks("Words of your own")
async def _(row: Row) -> None:
    async with run_agent(plain()) as run:
        reply = (await on(run, row, "This call is recorded.")).said("recorded")
        assert reply.prompt.tool_choice == "none"
        assert "This call is recorded." in reply.instructions


@checks("Waiting until it was heard")
async def _(row: Row) -> None:
    bye: Reply = [Say("Good bye.", ms=2000), Call("hang_up")]
    await row.run()
    async with run_agent(row["Polite"]()) as run:
        turn = await run.say("Bye.", bye)
        assert run.ended
        assert turn.said("good bye").heard_ms == 2000
    async with run_agent(row["Polite"]()) as run:
        await run.say("Bye.", bye, listen_ms=500)
        await run.say("Wait!", "I am here.")
        assert not run.ended


@checks("Interrupting")
async def _(row: Row) -> None:
    options = SessionOptions(turn_detection=ServerVAD(interrupt_response=False))
    async with run_agent(plain(), options=options, barge_in="client") as run:
        story = Say("Once upon a time.", ms=5000)
        told = await run.write("A story!", story, listen_ms=500)
        warning = Say("Mind the step.", ms=3000)
        async with run.exchange(warning) as warned, trio.open_nursery() as nursery:
            nursery.start_soon(lambda: row.run(session=run.session))
            await trio.sleep(1.0)
            run.session.interrupt()  # in vain
        assert told.said("once").cut
        assert warned.said("mind the step").heard_ms == 3000


@checks("What the program keeps")
async def _(row: Row) -> None:
    async with open_realtime_server() as server:
        await row.run(model=model_of(server))
    async with run_agent(row["Reception"](), userdata=row["Caller"]()) as run:
        await run.say("I am Ann.", Call("take_name", {"name": "Ann"}), "Hello Ann.")
        caller: Any = run.userdata
        assert caller.name == "Ann"


@checks("The conversation")
async def _(row: Row) -> None:
    async with run_agent(plain()) as run:
        await run.say("Hello.", "Hello.")
        await on(run, row)
        turn = await run.say("Who am I?", "A customer.")
        said = turn.said("customer").prompt.said
        assert said[2] == ("system", "The caller is a customer.")


@checks("Other instructions")
async def _(row: Row) -> None:
    async with run_agent(plain()) as run:
        await on(run, row)
        reply = (await run.say("Bonjour.", "Bonjour.")).said("bonjour")
        assert reply.instructions == "You speak French."


@checks("Events")
async def _(row: Row) -> None:
    printed: list[str] = []
    async with (
        run_agent(plain()) as run,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(lambda: row.run(session=run.session, print=printed.append))
        await run.say("Can you hear me?", "Yes.")
        assert printed == ["Can you hear me?"]


@checks("Who is doing what")
async def _(row: Row) -> None:
    async with (
        run_agent(plain(), away_after=30) as run,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(lambda: row.run(session=run.session))
        turn = await run.wait(40, "Are you still there?")
        assert turn.said("still there").instructions.endswith("still there.")


@checks("A task that returns a value")
async def _(row: Row) -> None:
    await row.run()
    async with run_agent(row["Host"]()) as run:
        await run.say("Record it.", Call("record"), "Do you consent?")
        assert isinstance(run.session.agent, row["Consent"])
        answer = Call("answered", {"consents": True})
        turn = await run.say("I do.", answer, "Then I record.")
        turn.said("record", agent="Host")
        assert run.called("record").output == "recording"


@checks("The model, and how it finds turns")
async def _(row: Row) -> None:
    await row.run()
    assert row["patient"].options.voice == "marin"
    async with run_agent(plain(), options=row["patient"].options) as run:
        await run.say("Hello.", "Hello.")
        (update,) = sent(run, "session.update")
        detection = update["session"]["audio"]["input"]["turn_detection"]
        assert detection["type"] == "semantic_vad"
        assert detection["eagerness"] == "low"


async def commits(row: Row) -> None:
    async with run_agent(plain(), [Rule("Yes.")], options=MANUAL) as run:
        pcm = run.server.utterances.say("Hello?")
        turn = await on(run, row, pcm=pcm)
        assert turn.said("yes").prompt.user_text == "Hello?"


@checks("Push to talk")
async def _(row: Row) -> None:
    await commits(row)


@checks("An error that the model is told")
async def _(row: Row) -> None:
    await row.run()
    async with run_agent(row["Till"]()) as run:
        turn = await run.say("Pay.", Call("pay"), "The till is closed.")
        assert turn.called("pay").output == "the till is closed"


@checks("How often tools are called in a row")
async def _(row: Row) -> None:
    async with open_realtime_server() as server:
        await row.run(model=model_of(server))
    assert row["session"].agent is None


@checks("Tools of an MCP server")
async def _(row: Row) -> None:
    await row.run()
    assert [one.name for one in row["clerk"].tools] == ["books"]


@checks("The end")
async def _(row: Row) -> None:
    async with run_agent(plain()) as run:
        long = Say("Good bye, and thank you.", ms=3000)
        told = await run.say("Bye.", long, listen_ms=300)
        await on(run, row)
        assert run.ended
        assert told.said("good bye").heard_ms == 3000


@checks("A test")
async def _(row: Row) -> None:
    await row.run()
    assert row["run"].ended


@checks("What remains of it")
async def _(row: Row) -> None:
    async with run_agent(plain()) as run:
        await run.say("Hello.", "Good morning.")
        await row.run(session=run.session)
    assert "Good morning." in row["saved"]
    assert "Good morning." in row["page"]


# --- OpenAI Agents SDK --------------------------------------------------------


@checks("Agent and tool")
async def _(row: Row) -> None:
    await row.run()
    async with run_agent(row["assistant"]) as run:
        call = Call("look_up", {"city": "Oslo"})
        turn = await run.say("Is it sunny in Oslo?", call, "It is.")
        assert turn.called("look_up").agent == "Assistant"


@checks("Runner and session")
async def _(row: Row) -> None:
    server = await opened(row, "It is sunny.", "Is it sunny?")
    assert server.connections[0].responses[0].tools == ("look_up",)


@checks("Handoffs")
async def _(row: Row) -> None:
    await row.run()
    async with run_agent(row["desk"]) as run:
        turn = await run.say("An invoice.", Call("to_billing"), "Billing here.")
        turn.handed_off_to("Billing")


@checks("Approval")
async def _(row: Row) -> None:
    defined: dict[str, Any] = {"function_tool": trialogue.function_tool}
    exec(compile(row.definitions, row.title, "exec"), defined)
    cashier = Agent(PLAIN, name="Cashier", tools=[defined["pay"]])
    async with run_agent(cashier) as run, trio.open_nursery() as nursery:
        nursery.start_soon(lambda: row.run(session=run.session))
        turn = await run.say("Pay.", Call("pay", {"euros": 5}), "Paid.")
        assert turn.called("pay").output == "5 euros were paid"


@checks("Output guardrails")
async def _(row: Row) -> None:
    await row.run()
    async with run_agent(row["clerk"]) as run:
        turn = await run.say("Tomorrow?", "I promise it. Really.", "Perhaps not.")
        (tripped,) = turn.of(GuardrailTripped)
        assert tripped.reason == "a promise"
        turn.said("perhaps not")


@checks("The context")
async def _(row: Row) -> None:
    async with open_realtime_server() as server:
        await row.run(model=model_of(server))
    async with run_agent(row["reception"], userdata=row["Caller"]()) as run:
        await run.say("I am Ann.", Call("take_name", {"name": "Ann"}), "Hello Ann.")
        caller: Any = run.userdata
        assert caller.name == "Ann"


@checks("Instructions by a function")
async def _(row: Row) -> None:
    await row.run()
    async with run_agent(row["host"], userdata=row["Caller"]("Ann")) as run:
        reply = (await run.say("Hello.", "Hello Ann.")).said("ann")
        assert reply.instructions == "You talk to Ann."


@checks("Writing")
async def _(row: Row) -> None:
    async with run_agent(plain()) as run:
        (await on(run, row, "We are.")).said("we are")
        assert row["outcome"].text == "We are."


@checks("Sound")
async def _(row: Row) -> None:
    async with run_agent(plain(), [Rule("Yes.")], options=MANUAL) as run:
        turn = await on(run, row, pcm=run.server.utterances.say("Hello?"))
        assert turn.said("yes").prompt.user_text == "Hello?"


@checks("Stopping the speech")
async def _(row: Row) -> None:
    async with run_agent(plain()) as run:
        story = Say("Once upon a time.", ms=5000)
        told = await run.say("A story!", story, listen_ms=700)
        await on(run, row)
        assert told.said("once").heard_ms == 700
        (cut,) = sent(run, "conversation.item.truncate")
        assert cut["audio_end_ms"] == 700


@checks("Events of a session")
async def _(row: Row) -> None:
    printed: list[tuple[Any, ...]] = []
    agent = Agent(PLAIN, name="Plain", tools=[trialogue.function_tool(answer)])
    async with run_agent(agent) as run, trio.open_nursery() as nursery:
        show = lambda *shown: printed.append(shown)  # noqa: E731
        nursery.start_soon(lambda: row.run(session=run.session, print=show))
        await run.say("What is it?", Call("answer"), "Forty-two.")
    assert isinstance(printed[0][0], Message)
    assert printed[-1] == ("answer", "42")


async def answer() -> int:
    """The answer."""
    return 42


@checks("Changing the agent")
async def _(row: Row) -> None:
    async with run_agent(plain()) as run:
        (await on(run, row, "Billing here.")).handed_off_to("Billing")


@checks("Model settings")
async def _(row: Row) -> None:
    await row.run()
    async with run_agent(plain(), options=row["telephone"].options) as run:
        await run.say("Hello.", "Hello.")
        (update,) = sent(run, "session.update")
        audio = update["session"]["audio"]
        assert audio["input"]["format"] == {"type": "audio/pcmu"}
        assert audio["input"]["noise_reduction"] == {"type": "near_field"}
        assert audio["input"]["turn_detection"]["silence_duration_ms"] == 500
        assert audio["output"]["voice"] == "ash"
        assert audio["output"]["speed"] == 1.1


@checks("The provider's own events")
async def _(row: Row) -> None:
    async with run_agent(plain()) as run:
        await on(run, row)
        await run.wait(1)
        assert sent(run, "input_audio_buffer.clear")
