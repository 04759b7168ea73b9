"""xen/version.h."""

from xenemu.xen.structs.layout import U32, ULONG, padding, struct

xen_compile_info = struct(
    "xen_compile_info",
    compiler=padding(64),
    compile_by=padding(16),
    compile_domain=padding(32),
    compile_date=padding(32),
)
xen_platform_parameters = struct("xen_platform_parameters", virt_start=ULONG)
xen_feature_info = struct("xen_feature_info", submap_idx=U32, submap=U32)
xen_build_id = struct("xen_build_id", len=U32)  # and `len` bytes
EXTRAVERSION_BYTES = 16
CAPABILITIES_BYTES = 1024
CHANGESET_BYTES = 64
COMMANDLINE_BYTES = 1024
