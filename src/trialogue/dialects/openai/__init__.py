"""OpenAI's Realtime protocol, in its general-availability form."""
