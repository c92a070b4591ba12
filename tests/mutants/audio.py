"""Breakages of audio formats and samples (A)."""

from __future__ import annotations

from quality.mutation import Patch, mutant


@mutant("A1", "speech is decoded by the other telephone's law")
def other_law_is_decoded(patch: Patch) -> None:
    patch.source(
        "trialogue.dialects.openai._audio:AudioFormats.heard",
        "Decoder(sink)",
        'Decoder("pcmu" if sink == "pcma" else "pcma")',
    )


@mutant("A2", "half a sample at the end of a piece is dropped")
def half_a_sample_is_dropped(patch: Patch) -> None:
    patch.source(
        "trialogue.audio.rechunk:Rechunker.feed",
        "self._rest = joined[whole:]",
        'self._rest = b""',
    )


@mutant("A2", "half a sample of the microphone is dropped")
def half_a_microphone_sample_is_dropped(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.input_ring:InputRing.append",
        "self._odd = pcm[whole:]",
        'self._odd = b""',
    )


@mutant("A1", "two responses at once share one decoder")
def responses_share_a_decoder(patch: Patch) -> None:
    patch.source(
        "trialogue.dialects.openai._audio:AudioFormats.heard",
        'response_id if response_id in self._sinks else ""',
        '""',
    )


@mutant("A1", "a response is read in the session's format whatever it shows")
def response_in_the_sessions_format(patch: Patch) -> None:
    patch.source(
        "trialogue.dialects.openai._audio:AudioFormats.began",
        "said or self._sink",
        "self._sink",
    )


@mutant("A3", "what was written to the loudspeaker counts as played")
def written_is_played(patch: Patch) -> None:
    patch.source(
        "trialogue.audio.playout:Playout._observe",
        "self._output.played",
        "self._output.written",
    )


@mutant("A3", "a sink on the clock counts what was written, not what was played")
def clocked_sink_guesses(patch: Patch) -> None:
    patch.source(
        "trialogue.audio.clocked:ClockedOutput.played",
        "return self._recorded",
        "return self._written",
    )


@mutant("A4", "the queue before a slow loudspeaker has no bound")
def speech_has_no_bound(patch: Patch) -> None:
    patch.source(
        "trialogue.audio.playout:Playout._has_room",
        "<= self._max_per_key",
        "< float('inf')",
    )


@mutant("A4", "speech beyond the bound leaves a hole instead of ending there")
def speech_beyond_the_bound_has_a_hole(patch: Patch) -> None:
    patch.source(
        "trialogue.audio.playout:Playout._refuse",
        "item.full = True",
        "pass",
    )
