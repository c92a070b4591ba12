"""Providers' protocols, sans-IO: neutral commands in, frames out; and back.

`commands` and `events` are the neutral vocabulary, `options` the session options,
`dialect` the seam that a provider's translator implements. Each provider has a package
of its own below this one.
"""
