"""Looking at a machine, and at what an environment wants of it, before anything is started."""

from pdtest.doctor.examination import environment_here, machine
from pdtest.doctor.finding import Finding, State

__all__ = ["Finding", "State", "environment_here", "machine"]
