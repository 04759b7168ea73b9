"""VZS: the half of the zero-loss framework that lives in the VMM."""

from vzs.diagnosis import DiagnosisPolicy, Kept
from vzs.events import EventLog, Timeline, as_dict, as_line, describe, timelines
from vzs.recovery import RecoveryPolicy
from vzs.restart import RestartPolicy
from vzs.vzs import Vzs

__all__ = [
    "DiagnosisPolicy",
    "EventLog",
    "Kept",
    "RecoveryPolicy",
    "RestartPolicy",
    "Timeline",
    "Vzs",
    "as_dict",
    "as_line",
    "describe",
    "timelines",
]
