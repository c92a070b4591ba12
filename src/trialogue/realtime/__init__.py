"""One conversation over realtime connections: the session, and what it is made of."""
