"""The six system calls of table 1, on zeroloss_op.

Each raises OSError with the errno that C decided (design: EPERM, ESRCH, EBUSY, EEXIST/ENOENT,
EINVAL, ENOMEM, in this order). Those that another domain must finish are coroutines: they wait
for the VZS's COMPLETE or FAILED, and raise ETIMEDOUT when neither comes.
"""

import asyncio
import errno
import os
from collections.abc import Callable

from ozs.zeroloss import zeroloss_op
from xenemu._abi import ZlOp
from xenemu.guest import Kernel

WAIT_SECONDS = 30.0


class Completion:
    """The wait for the VZS's answer. C allows one transition at a time, so one waiter is enough."""

    def __init__(self) -> None:
        self._waiter: asyncio.Future[int] | None = None

    @property
    def waiting(self) -> bool:
        """A system call waits now."""
        return self._waiter is not None and not self._waiter.done()

    def arm(self) -> "asyncio.Future[int]":
        """A future of the running process for the next answer."""
        self._waiter = asyncio.get_running_loop().create_future()
        return self._waiter

    def disarm(self) -> None:
        """Nobody waits any more."""
        self._waiter = None

    def answer(self, status: int) -> bool:
        """The VZS's answer, 0 or a negative errno; False when nobody waits."""
        waiter = self._waiter
        if waiter is None or waiter.done():
            return False
        self._waiter = None
        waiter.get_loop().call_soon_threadsafe(_resolve, waiter, status)
        return True


def _resolve(waiter: "asyncio.Future[int]", status: int) -> None:
    if not waiter.done():
        waiter.set_result(status)


def os_error(number: int, what: str) -> OSError:
    """The OSError of an errno, with a reason for people."""
    return OSError(number, f"{os.strerror(number)} ({what})")


class SystemCalls:
    """The system calls; methods are what `kernel.syscalls` holds, without their `sys_`."""

    def __init__(
        self,
        kernel: Kernel,
        completion: Completion,
        prepare: Callable[[], None],
        features: int = 0,
        lost: Callable[[], None] = lambda: None,
    ) -> None:
        """`prepare` registers the log and the wrappers, before a backup is booted; `features` are
        the TcpFeature bits that a backup must have; `lost` runs when a call fails with its backup.
        """
        self._kernel = kernel
        self._prepare = prepare
        self._completion = completion
        self._features = features
        self._lost = lost

    def install(self) -> None:
        """Puts the six into the kernel's table."""
        self._kernel.syscalls.update(
            ins_auth=lambda _process, domid: self.ins_auth(domid),
            boot_backup_server=lambda _process: self.boot_backup_server(),
            change_backup_ip=lambda _process, to_primary=True: self.change_backup_ip(to_primary),
            suspend_backup_server=lambda _process: self.suspend_backup_server(),
            wakeup_backup_server=lambda _process: self.wakeup_backup_server(),
            migrate_service=lambda _process: self.migrate_service(),
        )

    def ins_auth(self, domid: int) -> None:
        """Control: `domid` may boot a backup."""
        zeroloss_op(self._kernel, ZlOp.INSTALL_GRANT, domid=domid)

    async def boot_backup_server(self) -> int:
        """Primary: creates and boots the backup; its domain id once its service is up."""
        self._prepare()
        return await self._transition(ZlOp.BOOT_BACKUP, self._features)

    async def change_backup_ip(self, to_primary: bool = True) -> None:
        """Primary: the backup takes the primary's address, or its own again."""
        await self._transition(ZlOp.CHANGE_BACKUP_IP, int(to_primary))

    def suspend_backup_server(self) -> None:
        """Primary: takes the backup off its run queue."""
        zeroloss_op(self._kernel, ZlOp.SUSPEND_BACKUP)

    def wakeup_backup_server(self) -> None:
        """Primary: puts the backup back on its run queue."""
        zeroloss_op(self._kernel, ZlOp.WAKEUP_BACKUP)

    async def migrate_service(self) -> None:
        """Primary: hands its service over to the backup."""
        await self._transition(ZlOp.MIGRATE)

    async def _transition(self, op: ZlOp, value: int = 0) -> int:
        if self._completion.waiting:
            raise os_error(errno.EBUSY, "another call is under way")
        waiter = self._completion.arm()
        try:
            result = zeroloss_op(self._kernel, op, value=value)
            status = await asyncio.wait_for(waiter, WAIT_SECONDS)
        except TimeoutError as error:
            if error.errno is not None:
                raise
            raise os_error(errno.ETIMEDOUT, "the VMM did not answer") from None
        finally:
            self._completion.disarm()
        if status in (-errno.EIO, -errno.ECANCELED) and op is not ZlOp.BOOT_BACKUP:
            self._lost()
        if status:
            raise os_error(-status, f"{op.name.lower()} failed")
        return result.domid
