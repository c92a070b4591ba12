"""Agents, the session they share, and the handoff from one to the next."""
