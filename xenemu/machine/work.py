"""Kinds of work that the C machine hands to Python: csrc/base/work.h."""

from enum import IntEnum


class WorkKind(IntEnum):
    """What a work item is about; says what ``arg``, ``a`` and ``b`` hold."""

    NONE = 0
    SOCKETS = 1  # the node has sockets whose readiness changed
    TIMER = 2  # a timer armed by Python is due; arg = its token
    TICK = 3  # a domain's timer interrupt
    UPCALL = 4  # a domain has pending event channels
    VMM = 5  # the VMM side has something to do; arg = VmmEvent
    WRAPPER = 6  # an event of a domain's south-side wrapper
    FD = 7  # real clock: a watched file descriptor is ready; arg = fd


class VmmEvent(IntEnum):
    """``arg`` of WorkKind.VMM; ``node`` is the domain named in each comment."""

    BOOT_BACKUP = 1  # primary; a = backup: build and start its kernel
    BOOT_DONE = 2  # backup; a = its TcpFeature bits
    CHANGE_IP = 3  # primary; a = backup: signal the backup
    IP_SET = 4  # backup; a = address
    SUSPENDED = 5  # backup
    WOKEN = 6  # backup
    MIGRATE = 7  # primary
    QUIESCED = 8  # primary
    FAULT = 9  # the faulty domain; a = FaultKind
    REPLAY_STARTED = 10  # backup; a = connections to re-establish
    RECOVERY_DONE = 11  # new primary; a = old primary
    LOG_REGISTERED = 12  # primary; a = extents
    GRANT_INSTALLED = 13  # primary
    BACKUP_GONE = 14  # primary; a = backup: destroyed while it was one
