"""The same work by trialogue, by its peers and by hand: `nox -s bench-peers`."""
