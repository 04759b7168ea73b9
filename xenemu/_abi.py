"""The ABI's constants. Made from csrc/base/abi.def by tools/gen_abi.py: do not edit."""

from enum import IntEnum, IntFlag

DOMID_SELF = 0x7FF0


class Hypercall(IntEnum):
    mmu_update = 1
    memory_op = 12
    multicall = 13
    update_va_mapping = 14
    xen_version = 17
    console_io = 18
    sched_op = 29
    event_channel_op = 32
    domctl = 36
    zeroloss_op = 55  # __HYPERVISOR_arch_7: the framework's own calls


class Virq(IntEnum):
    TIMER = 0  # the guest's timer interrupt
    DOM_EXC = 3
    ZEROLOSS = 23  # VIRQ_ARCH_7: a signal from the VZS to an OZS


class ZlOp(IntEnum):
    INSTALL_GRANT = 0  # control: domid may boot a backup (sys_ins_auth)
    BOOT_BACKUP = 1  # primary: create and boot the backup; domid returned
    BOOT_DONE = 2  # backup: OS, OZS and service are up; value = TCP features
    CHANGE_BACKUP_IP = 3  # primary: value 1 = the primary's address, 0 = its own
    GET_IP = 4  # backup: the address to take is returned in value
    IP_SET = 5  # backup: value = the address that it now has
    SUSPEND_BACKUP = 6  # primary
    WAKEUP_BACKUP = 7  # primary
    MIGRATE = 8  # primary: hand the service over to the backup
    QUIESCED = 9  # primary: nothing is in flight inside it
    REPORT_FAULT = 10  # primary: value = fault kind
    REGISTER_HEARTBEAT = 11  # value = mfn of the caller's heartbeat page
    REGISTER_LOG = 12  # primary: count mfns at addr, first frame of each 2 MiB extent, in order
    GET_LOG = 13  # recorded backup while recovering: count and mfns at addr returned
    REGISTER_WRAPPER = 14  # value = port to protect (wr_create)
    START_REPLAY = 15  # recovering backup: re-establish the logged connections
    RECOVERY_DONE = 16  # recovering backup: it is the primary now
    GET_SIGNAL = 17  # any: value = pending zl_signal bits, cleared
    UNREGISTER_WRAPPER = 18  # value = port


class ZlSignal(IntFlag):
    CHANGE_IP = 1  # backup: fetch the address with GET_IP and set it
    RECOVER = 2  # backup: map the log and replay
    COMPLETE = 4  # primary: the call it waits for is done
    QUIESCE = 8  # primary: finish what is in flight, then QUIESCED
    READDRESS = 16  # old primary: fetch another address with GET_IP and set it
    RESTART = 64  # primary: start the service again and replay
    FAILED = 32  # primary: the call it waits for failed; see status


class TcpFeature(IntFlag):
    TIMESTAMPS = 1  # RFC 7323; value of BOOT_BACKUP and BOOT_DONE
    WINDOW_SCALE = 2  # RFC 7323


class FaultKind(IntEnum):
    APP = 1  # a protected process ended unasked
    KERNEL = 2  # no heartbeat for two timer periods
