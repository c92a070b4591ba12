"""Two agents on one session: a greeter who hands over to a weather specialist.

With a key, against the real service:

    OPENAI_API_KEY=... python examples/two_agents.py caller.wav agents.wav

Without one, against the local server:

    python -m trialogue serve --port 8765 --script demo &
    OPENAI_API_KEY=any python examples/two_agents.py caller.wav agents.wav \\
        --base-url ws://127.0.0.1:8765/v1/realtime

`caller.wav` is 16 bit, mono, 24 kHz.
"""

from __future__ import annotations

import argparse

import trio

from trialogue import (
    Agent,
    OpenAIRealtime,
    RunContext,
    function_tool,
    open_agent_session,
)
from trialogue.audio import WavInput, WavOutput


class Weather(Agent):
    instructions = "You are Sunny, a weather specialist."

    async def on_enter(self, ctx: RunContext) -> None:
        await ctx.session.generate_reply(
            instructions="Introduce yourself and ask which city."
        )

    @function_tool
    async def lookup_weather(self, ctx: RunContext, location: str) -> str:
        """Look up the weather.

        Args:
            location: City or region.
        """
        return f"It is sunny in {location}."


class Greeter(Agent):
    instructions = "You are Kelly, a friendly greeter."

    @function_tool
    async def transfer_to_weather(self, ctx: RunContext) -> Agent:
        """Transfer to the weather specialist."""
        return Weather()  # a handoff is a return value


async def main(caller: str, agents: str, base_url: str | None) -> None:
    model = OpenAIRealtime("gpt-realtime", voice="marin")
    if base_url is not None:
        model = OpenAIRealtime("gpt-realtime", voice="marin", base_url=base_url)
    audio = WavInput(caller), WavOutput(agents)
    async with open_agent_session(model, audio=audio) as session:
        # Returns on end(), or when the input ended and nothing is owed.
        await session.run(Greeter())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Two agents on one session.")
    parser.add_argument("caller", help="what the caller says, a WAV file")
    parser.add_argument("agents", help="where to write what the agents say")
    parser.add_argument("--base-url", help="where the API is; default: OpenAI's")
    given = parser.parse_args()
    trio.run(main, given.caller, given.agents, given.base_url)
