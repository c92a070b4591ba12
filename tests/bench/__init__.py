"""How long the local work of agents takes: programs to run, not tests."""
