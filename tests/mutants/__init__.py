"""Named breakages of the source; under each, a test of its behaviour must fail.

``nox -s mutants`` runs, for every mutant, the tests marked with its row in a pytest
process in which the source is broken so (``pytest --mutant NAME --behaviours ROW``),
and demands that one of them fails. ``nox -s mutants -- S5 H`` takes rows and groups.

There is a module for each group of rows. To add a mutant, write a function there under
``@mutant(row, what is broken)``, named after the breakage, that takes a
:class:`quality.mutation.Patch`:

``patch.source("trialogue.module:Class.method", old, new)``
    rewrites a piece of text that stands once in that function, for everyone who
    holds the function: the way for a dropped line or a turned condition;
``patch.replace("trialogue.module:Class.method", new)``
    binds the name to another object, at that place only.

A target or a text that is not there is an error, so that no mutant outlives what it
breaks. A mutant breaks one thing, as a plausible slip would, and leaves everything
importable. A test that merely hangs under it has noticed nothing: give the test a
deadline of its own (``trio.fail_after`` on the mock clock).
"""
