"""The demo's cast: a greeter and a weather specialist, who hand over to each other."""

from __future__ import annotations

from trialogue import Agent, RunContext, function_tool

__all__ = ["Greeter", "Weather"]


class Greeter(Agent):
    """Kelly: greets, takes callers to Sunny, and says goodbye when they come back.

    Args:
        returning: the caller has been here before.
    """

    name = "Kelly"
    instructions = (
        "You are Kelly, a friendly greeter on the phone. Speak in one short sentence. "
        "When the caller asks about the weather, say so and call transfer_to_weather."
    )

    def __init__(self, *, returning: bool = False) -> None:
        super().__init__()
        self.returning = returning

    async def on_enter(self, ctx: RunContext) -> None:
        """Say hello or goodbye."""
        await ctx.session.generate_reply(
            instructions="Say that it is you again, and goodbye."
            if self.returning
            else "Greet the caller and ask how you can help."
        )

    @function_tool
    async def transfer_to_weather(self, ctx: RunContext) -> Agent:
        """Transfer the caller to the weather specialist."""
        return Weather()


class Weather(Agent):
    """Sunny: knows the weather anywhere, and it is always the same."""

    name = "Sunny"
    instructions = (
        "You are Sunny, a weather specialist on the phone. Speak in one short "
        "sentence. Look the weather up with lookup_weather before you answer. When the "
        "caller wants to go back to the greeter, say so and call transfer_to_greeter."
    )

    async def on_enter(self, ctx: RunContext) -> None:
        """Ask for the city."""
        await ctx.session.generate_reply(
            instructions="Introduce yourself and ask which city."
        )

    @function_tool
    async def lookup_weather(self, ctx: RunContext, location: str) -> str:
        """Look up the weather.

        Args:
            location: City or region.
        """
        return f"It is sunny in {location} today."

    @function_tool
    async def transfer_to_greeter(self, ctx: RunContext) -> Agent:
        """Transfer the caller back to the greeter."""
        return Greeter(returning=True)
