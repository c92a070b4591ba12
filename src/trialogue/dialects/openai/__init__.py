"""OpenAI's Realtime protocol, in its general-availability form.

`OpenAIDialect` translates; `check_options` holds options against the documented
ranges; `wire` holds the events as they stand on the wire, for
whoever speaks the protocol directly, as a local server does; `g711` codes the audio of
telephones.
"""

from trialogue.dialects.openai._ranges import check_options
from trialogue.dialects.openai.dialect import OpenAIDialect

__all__ = ["OpenAIDialect", "check_options"]
