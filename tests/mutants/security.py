"""Breakages of what keeps secrets, and of what is bounded (X)."""

from __future__ import annotations

from quality.mutation import Patch, mutant


@mutant("X1", "a key that a close reason quotes is shown")
def close_reason_shows_the_key(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.link_engine:Link.close_reason",
        "without_keys(reason)",
        "reason",
    )


@mutant("X1", "the library beneath logs what the peer says")
def library_logs_the_key(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.library_log:_Struck.filter",
        "record.msg, record.args = shown, ()",
        "pass",
    )


@mutant("X1", "a key that an error quotes is shown")
def error_shows_the_key(patch: Patch) -> None:
    patch.source(
        "trialogue.dialects.openai._errors:reported",
        "message=without_keys(message)",
        "message=message",
    )


@mutant("X1", "a model shows its key")
def model_shows_its_key(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.credentials:Secret.__repr__",
        'return "Secret(...)"',
        'return f"Secret({self._value})"',
    )


@mutant("X2", "certificates are not verified")
def certificates_are_not_verified(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.dial:tcp_connector",
        "ssl.create_default_context()",
        "ssl._create_unverified_context()",
    )


@mutant("X2", "keys and speech go to any host in the clear")
def any_host_in_the_clear(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.dial:parse_url", "not is_loopback(parts.hostname)", "False"
    )


@mutant("X3", "the outbox has no bound")
def outbox_has_no_bound(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.connection:Connection.post",
        "if self._queued > self._limits.outbox_frames:",
        "if False:",
    )


@mutant("X3", "a subscriber's events pile up")
def events_pile_up(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.broadcast:Subscription._offer",
        "full = len(self._events) > self._limit",
        "full = False",
    )


@mutant("X3", "arguments of any length are parsed")
def arguments_have_no_bound(patch: Patch) -> None:
    patch.source(
        "trialogue.tools.arguments:structure", "if size > max_bytes:", "if False:"
    )


@mutant("X3", "an item beyond the bound is sent")
def endless_item_is_sent(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.limits:Limits.check_item",
        "size > self.max_item_chars",
        "False",
    )


@mutant("X3", "what grows piece by piece is recorded without a bound")
def growing_text_is_not_cut(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.bounding:Bounding._delta", "if after <= room:", "if True:"
    )


@mutant("X3", "a message of the provider is read whatever its length")
def endless_message_is_read(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.connection:Connection.serve",
        "max_message_size=self._limits.max_message_chars",
        "max_message_size=2**40",
    )


@mutant("X1", "the wire log shows what stands in a field that nobody knows")
def unknown_fields_are_shown(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.redaction:_text", "if not (texts or named):", "if False:"
    )


@mutant("X1", "the wire log hides keys by the name of their field only")
def keys_in_prose_are_shown(patch: Patch) -> None:
    patch.source("trialogue.realtime.redaction:_text", "without_keys(value)", "value")
