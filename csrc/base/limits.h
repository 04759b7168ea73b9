/* Fixed limits of the emulated machine, in one place. */
#ifndef XE_BASE_LIMITS_H
#define XE_BASE_LIMITS_H

enum {
	XE_MTU = 1500,             /* bytes of an IPv4 packet on any link */
	XE_MAX_DOMAINS = 4096,     /* live domains and zombies together */
	XE_MAX_VCPUS = 128,        /* of one domain */
	XE_MAX_PAIRS = 64,         /* protection pairs */
	XE_MAX_HOSTS = 64,         /* ordinary hosts on the LAN */
	XE_MAX_LISTENERS = 1024,   /* listening sockets of one stack, or of the relay */
	XE_MAX_PROTECTED_PORTS = 64,
	XE_MAX_PROFILES = 64,      /* of wrappers */
	XE_PAGE_SHIFT = 12,
	XE_PAGE_SIZE = 1 << XE_PAGE_SHIFT,
	XE_EXTENT_ORDER = 9,       /* a log extent: 512 frames, 2 MiB */
	XE_EXTENT_SIZE = XE_PAGE_SIZE << XE_EXTENT_ORDER,
	XE_MAX_EXTENTS = 4096,     /* extents of one log: 8 GiB */
	XE_TICK_HZ = 100,
};

#endif
