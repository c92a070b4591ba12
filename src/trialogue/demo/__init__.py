"""The demonstration: a spoken conversation with two agents, without key or network."""
