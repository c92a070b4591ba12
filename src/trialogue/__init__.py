"""Realtime speech-to-speech agents on Trio."""

from trialogue._version import __version__ as __version__
