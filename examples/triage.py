"""Triage: three agents and a caller, in writing. A local server plays the model."""

import trio

from trialogue import (
    Agent,
    Handoff,
    OpenAIRealtime,
    SessionOptions,
    function_tool,
    last_turns,
    open_agent_session,
)
from trialogue.events import ReplyEnded
from trialogue.testing import Call, Rule, Rules, open_realtime_server

MODEL = Rules.of(
    Rule(Call("to_billing", {"why": "an invoice"}), agent="needs", user="invoice"),
    Rule(Call("to_support"), agent="invoices", user="router"),
    Rule("You have paid twice; the money comes back.", agent="invoices"),
    Rule("Somebody repairs it tomorrow.", agent="broken"),
)
CALLER = {"My invoice is too high.": "Billing", "And my router hums.": "Support"}
WRITTEN = SessionOptions(output_modalities=("text",))


class Billing(Agent):
    instructions = "You explain invoices, and transfer to support for all else."

    @function_tool
    async def to_support(self) -> Agent:
        """Transfer to support."""
        return Agent("You repair what is broken.", name="Support")


class Triage(Agent):
    instructions = "You find out what a caller needs, and transfer."

    @function_tool
    async def to_billing(self, why: str) -> Handoff:
        """Transfer to billing."""
        return Handoff(Billing(), note=f"It is about {why}.", context=last_turns(1))


async def main() -> None:
    async with open_realtime_server(MODEL, port=0) as server:
        model = OpenAIRealtime(api_key="any", base_url=server.url, options=WRITTEN)
        async with open_agent_session(model) as session, trio.open_nursery() as nursery:
            nursery.start_soon(session.run, Triage())
            async with session.subscribe(ReplyEnded) as replies:
                for words, agent in CALLER.items():
                    await session.realtime.send_message(words)
                    await session.generate_reply()
                    while (reply := await replies.receive()).agent != agent:
                        pass  # somebody transfers
                    print(f"caller: {words}\n{agent}: {reply.outcome.text}")
            session.end()


trio.run(main)
