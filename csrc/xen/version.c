/* xen_version: what this hypervisor says it is, Xen 4.17.7, and a few texts of our own.
 *
 * The command line and the build id are for the control domain only; others are told so. */
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "xen/internal.h"

enum { VERSION_4_17 = 4 << 16 | 17, BUILD_ID_SIZE = 20, DENIED_SIZE = 9 };

/* XENFEAT_* of a PV domain: preserve_ad, highmem_assist, gnttab_map_avail_bits, memory_op_vnode,
 * direct_mapped; and those that it may have besides. */
enum {
	FEATURES = 1 << 5 | 1 << 6 | 1 << 7 | 1 << 13 | 1 << 17,
	FEATURE_HIGH_PGDIR = 1 << 4,
	FEATURE_DOM0 = 1 << 11,
	ASSIST_HIGH_PGDIR = 1 << 3,
};

struct texts {
	char extraversion[16];
	struct {
		char compiler[64], by[16], domain[32], date[32];
	} compile_info;
	char capabilities[1024], changeset[64], commandline[1024];
};

static const struct texts texts = {
	.extraversion = ".7",
	.compile_info = {"C11", "xenemu", "localhost", "Thu Jan  1 00:00:00 UTC 1970"},
	.capabilities = "xen-3.0-x86_64 ",
	.changeset = "xenemu",
};

static const uint8_t build_id[BUILD_ID_SIZE] = "xenemu 4.17.7 x86-64";

static int64_t get_features(struct xe_host *h, struct xe_vcpu *v, uint64_t gva)
{
	struct {
		uint32_t index, map;
	} f;

	if (xe_copy_from(h, v, &f, gva, sizeof(f)))
		return -EFAULT;
	if (f.index)
		return -EINVAL;
	f.map = FEATURES | (v->domain->id == 0 ? FEATURE_DOM0 : 0) |
		(v->domain->vm_assist & ASSIST_HIGH_PGDIR ? FEATURE_HIGH_PGDIR : 0);
	return xe_copy_to(h, v, gva, &f, sizeof(f));
}

/* A length, then so many bytes; how many there are. */
static int64_t get_build_id(struct xe_host *h, struct xe_vcpu *v, uint64_t gva)
{
	uint32_t len;

	if (!v->domain->privileged)
		return -EPERM;
	if (!gva)
		return BUILD_ID_SIZE;
	if (xe_copy_from(h, v, &len, gva, sizeof(len)))
		return -EFAULT;
	if (!len)
		return -EINVAL;
	if (len < BUILD_ID_SIZE)
		return -ENOBUFS;
	if (xe_copy_to(h, v, gva + sizeof(len), build_id, sizeof(build_id)))
		return -EFAULT;
	return BUILD_ID_SIZE;
}

static int64_t get_commandline(struct xe_host *h, struct xe_vcpu *v, uint64_t gva)
{
	if (v->domain->privileged)
		return xe_copy_to(h, v, gva, texts.commandline, sizeof(texts.commandline));
	return xe_copy_to(h, v, gva, "<denied>", DENIED_SIZE);
}

/* Those that have an argument. Apart, so that the one that has none needs no stack. */
static __attribute__((noinline)) int64_t copying(struct xe_host *h, struct xe_vcpu *v, uint32_t op,
						 uint64_t gva)
{
	uint64_t start = XE_HYPERVISOR_START;

	switch (op) {
	case XE_ABI_xenver_extraversion:
		return xe_copy_to(h, v, gva, texts.extraversion, sizeof(texts.extraversion));
	case XE_ABI_xenver_compile_info:
		return xe_copy_to(h, v, gva, &texts.compile_info, sizeof(texts.compile_info));
	case XE_ABI_xenver_capabilities:
		return xe_copy_to(h, v, gva, texts.capabilities, sizeof(texts.capabilities));
	case XE_ABI_xenver_changeset:
		return xe_copy_to(h, v, gva, texts.changeset, sizeof(texts.changeset));
	case XE_ABI_xenver_platform_parameters:
		return xe_copy_to(h, v, gva, &start, sizeof(start));
	case XE_ABI_xenver_get_features:
		return get_features(h, v, gva);
	case XE_ABI_xenver_pagesize:
		return gva ? -EINVAL : XE_PAGE_SIZE;
	case XE_ABI_xenver_guest_handle:
		return xe_copy_to(h, v, gva, v->domain->handle, sizeof(v->domain->handle));
	case XE_ABI_xenver_commandline:
		return get_commandline(h, v, gva);
	case XE_ABI_xenver_build_id:
		return get_build_id(h, v, gva);
	default:
		return -ENOSYS;
	}
}

int64_t xe_do_xen_version(struct xe_host *h, struct xe_vcpu *v, const uint64_t arg[6])
{
	if ((uint32_t)arg[0] == XE_ABI_xenver_version)
		return VERSION_4_17;
	return copying(h, v, (uint32_t)arg[0], arg[1]);
}
