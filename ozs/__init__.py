"""OZS: the half of the zero-loss framework that lives in a guest kernel."""

from ozs.service import Service, ServiceManager, ServiceVersion
from ozs.subsystem import Ozs, OzsConfig, Role
from ozs.window import StartInfo
from ozs.wrappers import Profile
from ozs.zlctl import zlctl

__all__ = [
    "Ozs",
    "OzsConfig",
    "Profile",
    "Role",
    "Service",
    "ServiceManager",
    "ServiceVersion",
    "StartInfo",
    "zlctl",
]
