"""Environment files: what they may say, and how they become frozen data."""

from pdtest.environment.catalogue import Catalogue, UnknownEnvironment, default_directories
from pdtest.environment.finding import EnvironmentInvalid, Finding, Position
from pdtest.environment.interpolate import DanglingReference, InterpolationError, references, resolve
from pdtest.environment.loading import load
from pdtest.environment.publish import json_schema
from pdtest.environment.resolved import dump_resolved
from pdtest.environment.vocabulary import Term, Vocabulary

__all__ = [
    "Catalogue",
    "DanglingReference",
    "EnvironmentInvalid",
    "Finding",
    "InterpolationError",
    "Position",
    "Term",
    "UnknownEnvironment",
    "Vocabulary",
    "default_directories",
    "dump_resolved",
    "json_schema",
    "load",
    "references",
    "resolve",
]
