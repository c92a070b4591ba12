"""The soak over real sockets: many sessions, a server of its own, mixed faults."""
