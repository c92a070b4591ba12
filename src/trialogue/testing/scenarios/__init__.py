"""Scenarios: the faults, the network and the settings of a local server, as a file.

`load_scenario` reads TOML, `dump_scenario` writes it. A table of `[[faults]]` is a
call: `do` names the function of `trialogue.testing`, the other keys are its arguments.
"""

from trialogue.testing.scenarios.dumping import dump_scenario, with_dialect
from trialogue.testing.scenarios.loading import load_scenario
from trialogue.testing.scenarios.scenario import Scenario

__all__ = ["Scenario", "dump_scenario", "load_scenario", "with_dialect"]
