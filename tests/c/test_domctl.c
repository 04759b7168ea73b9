/* domctl: creation and its limits, pauses, information, virtual CPUs and their contexts, frames, death;
 * and the hypercalls that are known but not served. */
#include <errno.h>
#include <stdio.h>

#include "xen_check.h"
#include "xen_fix.h"

enum { CREATE = 1, DESTROY, PAUSE, UNPAUSE, INFO };

#define CTX (XE_GUEST_BASE + 0x8000)

static struct xe_domctl o;

static int64_t ctl(struct fix *f, uint32_t d, uint32_t cmd, uint16_t target)
{
	return domctl(f, d, cmd, XE_DOMCTL_VERSION, target, (uint8_t *)&o);
}

static void usual(void)
{
	memset(&o, 0, sizeof(o));
	o.u.create.max_vcpus = 1;
	o.u.create.max_evtchn_port = 1023;
	o.u.create.max_grant_frames = 4;
	o.u.create.max_maptrack_frames = 4;
	o.u.create.grant_opts = 1;
}

static uint32_t make(struct fix *f, uint32_t vcpus, uint64_t max_kb)
{
	uint32_t id;

	usual();
	o.u.create.max_vcpus = vcpus;
	xe_assert(ctl(f, 0, CREATE, 0) == 0);
	id = o.domain;
	o.u.max_vcpus = vcpus;
	xe_assert(ctl(f, 0, 15, (uint16_t)id) == 0);
	o.u.max_memkb = max_kb;
	xe_assert(ctl(f, 0, 11, (uint16_t)id) == 0);
	return id;
}

static const struct xe_domctl_info *get(struct fix *f, uint32_t id)
{
	xe_assert(ctl(f, 0, INFO, (uint16_t)id) == 0 && o.domain == id);
	return &o.u.info;
}

static void attempt(struct fix *f, uint32_t *tries, int result)
{
	++*tries;
	xe_assert(ctl(f, 0, CREATE, 0) == result);
	if (result)
		return;
	xe_assert(o.domain == *tries && o.u.create.flags & XE_CDF_OOS_OFF);
	xe_assert(ctl(f, 0, DESTROY, o.domain) == 0);
}

#define TRY(field, value, result)            \
	do {                                 \
		usual();                     \
		o.u.create.field = value;    \
		attempt(&f, &tries, result); \
	} while (0)

static void test_create(void)
{
	struct fix f;
	uint32_t tries = 0, id;

	start(&f, FRAMES, true);
	/* each try takes an id, good or not */
	TRY(flags, 0, 0);
	TRY(flags, 256, -EINVAL);
	for (uint32_t bit = 1; bit < 256; bit <<= 1)
		TRY(flags, bit, bit == 8 || bit == 16 ? 0 : -EINVAL);
	TRY(iommu_opts, 1, -EINVAL);
	TRY(max_vcpus, 0, -EINVAL);
	TRY(max_vcpus, 128, 0);
	TRY(max_vcpus, 8192, 0);
	TRY(max_vcpus, 8193, -EINVAL);
	TRY(max_evtchn_port, 0, 0);
	TRY(max_evtchn_port, UINT32_MAX, 0);
	TRY(max_grant_frames, 0, -EINVAL);
	TRY(max_grant_frames, -1, 0);
	TRY(max_grant_frames, 65, -EINVAL);
	TRY(max_maptrack_frames, 0, 0);
	TRY(max_maptrack_frames, -1, 0);
	TRY(max_maptrack_frames, 1025, -EINVAL);
	TRY(grant_opts, 0, -EINVAL);
	TRY(grant_opts, 2, 0);
	TRY(grant_opts, 3, -EINVAL);
	TRY(grant_opts, 17, -EINVAL);
	TRY(vmtrace_size, 4096, -EINVAL);
	TRY(cpupool_id, 1, -ESRCH);
	TRY(arch.emulation_flags, 1, -EOPNOTSUPP);
	TRY(arch.emulation_flags, 256, 0);
	TRY(arch.emulation_flags, 2048, -EINVAL);
	TRY(arch.misc_flags, 1, 0);
	TRY(arch.misc_flags, 2, -EINVAL);
	/* ids that are asked for, and those that ask for any */
	usual();
	xe_assert(ctl(&f, 0, CREATE, 100) == 0 && o.domain == 100);
	usual();
	o.u.create.flags = 256;
	xe_assert(ctl(&f, 0, CREATE, 100) == -EEXIST);
	usual();
	xe_assert(ctl(&f, 0, CREATE, 4096) == -ENOMEM && ctl(&f, 0, CREATE, 0x7fef) == -ENOMEM);
	xe_assert(ctl(&f, 0, CREATE, 0x7ff0) == 0 && o.domain == tries + 1);
	usual();
	xe_assert(ctl(&f, 0, CREATE, 0xffff) == 0 && o.domain == tries + 2);
	/* what was asked for is what it has */
	usual();
	o.u.create.handle[3] = 7;
	o.u.create.max_evtchn_port = 99;
	o.u.create.max_grant_frames = 3;
	o.u.create.max_maptrack_frames = 0;
	o.u.create.flags = XE_CDF_XS_DOMAIN;
	o.u.create.arch.emulation_flags = 256;
	o.u.create.max_vcpus = 3;
	xe_assert(ctl(&f, 0, CREATE, 0) == 0);
	id = o.domain;
	xe_assert(f.h->domain[id]->max_port == 99 && f.h->domain[id]->max_grant_frames == 3 &&
		  f.h->domain[id]->max_maptrack_frames == 0 && f.h->domain[id]->max_vcpus == 3);
	xe_assert(get(&f, id)->flags == 0xffff0088 && o.u.info.handle[3] == 7 &&
		  !o.u.info.tot_pages && !o.u.info.max_pages && !o.u.info.nr_online_vcpus &&
		  o.u.info.max_vcpu_id == UINT32_MAX && o.u.info.arch.emulation_flags == 256 &&
		  o.u.info.gpaddr_bits == 40 &&
		  o.u.info.shared_info_frame == f.h->domain[id]->shared_mfn);
	/* no other way in */
	usual();
	xe_assert(hc(&f, 0, 36, BAD, 0, 0, 0) == -EFAULT &&
		  domctl(&f, 0, CREATE, 0x14, 0, (uint8_t *)&o) == -EACCES);
	stop(&f);
}

/* All ids, then none; a lower one that is free again is found. */
static void test_many(void)
{
	struct fix f;
	int64_t r;
	uint32_t n = 0;

	start(&f, FRAMES, true);
	do {
		usual();
		r = ctl(&f, 0, CREATE, 0);
		xe_assert(r || o.domain == ++n);
	} while (!r);
	xe_assert(r == -ENOMEM && n == XE_MAX_DOMAINS - 1);
	xe_assert(ctl(&f, 0, DESTROY, 17) == 0 && ctl(&f, 0, INFO, 17) == 0 && o.domain == 18);
	usual();
	xe_assert(ctl(&f, 0, CREATE, 0) == 0 && o.domain == 17);
	stop(&f);
}

static void test_rights(void)
{
	struct fix f;
	uint32_t d;

	start(&f, FRAMES, true);
	d = guest(&f);
	usual();
	xe_assert(domctl(&f, d, CREATE, 1, 0, (uint8_t *)&o) == -EACCES &&
		  ctl(&f, d, CREATE, 0) == -EPERM);
	for (uint32_t cmd = 0; cmd < 90; cmd++) {
		memset(&o, 0, sizeof(o));
		xe_assert(cmd == CREATE || ctl(&f, d, cmd, (uint16_t)d) == -EPERM);
		xe_assert(cmd == CREATE || ctl(&f, d, cmd, 999) == -ESRCH);
		xe_assert(cmd == CREATE ||
			  ctl(&f, d, cmd, 0x7ff0) == (cmd == INFO ? -EINVAL : -ESRCH));
	}
	stop(&f);
}

static void test_info_and_pauses(void)
{
	struct fix f;
	uint32_t d, x;
	int n = 0;

	start(&f, FRAMES, true);
	d = guest(&f);
	x = make(&f, 3, 64);
	xe_assert(get(&f, 0)->flags == 0xffff0020 && o.u.info.nr_online_vcpus == 1 &&
		  o.u.info.arch.emulation_flags == 256 && o.u.info.max_vcpu_id == 0);
	xe_assert(get(&f, d)->flags == 0xffff0000 && o.u.info.tot_pages == PAGES &&
		  o.u.info.max_pages == PAGES + LOG_PAGES);
	xe_assert(hc(&f, d, 29, 1, 0, 0, 0) == 0 && get(&f, d)->flags == 0xffff0010);
	xe_assert(get(&f, x)->max_vcpu_id == 2 && o.u.info.max_pages == 16);
	/* the list goes on with the next one */
	memset(&o, 0, sizeof(o));
	xe_assert(ctl(&f, 0, INFO, (uint16_t)(x + 1)) == -ESRCH &&
		  ctl(&f, 0, INFO, 0xffff) == -EINVAL);
	/* pauses */
	xe_assert(ctl(&f, 0, UNPAUSE, (uint16_t)x) == 0 &&
		  ctl(&f, 0, UNPAUSE, (uint16_t)x) == -EINVAL);
	while (ctl(&f, 0, PAUSE, (uint16_t)x) == 0)
		n++;
	xe_assert(n == 255 && ctl(&f, 0, PAUSE, (uint16_t)x) == -EOVERFLOW &&
		  get(&f, x)->flags & 8);
	for (uint32_t cmd = DESTROY; cmd <= UNPAUSE; cmd++)
		xe_assert(ctl(&f, 0, cmd, 0) == -EINVAL && ctl(&f, 0, cmd, 999) == -ESRCH);
	/* small things */
	for (unsigned i = 0; i < 16; i++)
		o.u.handle[i] = (uint8_t)(i + 1);
	xe_assert(ctl(&f, 0, 17, (uint16_t)x) == 0 && get(&f, x)->handle[15] == 16);
	memset(&o, 0, sizeof(o));
	o.u.debug = 1;
	xe_assert(ctl(&f, 0, 18, 0) == -EINVAL && ctl(&f, 0, 18, (uint16_t)x) == 0 &&
		  get(&f, x)->flags & 64);
	o.u.max_memkb = UINT64_MAX;
	xe_assert(ctl(&f, 0, 11, (uint16_t)x) == 0 && get(&f, x)->max_pages == UINT32_MAX);
	memset(&o, 0, sizeof(o));
	o.u.max_memkb = 7;
	xe_assert(ctl(&f, 0, 11, (uint16_t)x) == 0 && get(&f, x)->max_pages == 1);
	memset(&o, 0, sizeof(o));
	xe_assert(ctl(&f, 0, 36, (uint16_t)x) == 0 && o.u.address_size == 64);
	xe_assert(ctl(&f, 0, 35, (uint16_t)x) == 0 && (o.u.address_size = 32) &&
		  ctl(&f, 0, 35, (uint16_t)x) == -EOPNOTSUPP && (o.u.address_size = 16) &&
		  ctl(&f, 0, 35, (uint16_t)x) == -EINVAL);
	memset(&o, 0, sizeof(o));
	xe_assert(ctl(&f, 0, 59, (uint16_t)x) == 0 && o.u.tsc.khz == 1000000 &&
		  ctl(&f, 0, 59, 0) == -EINVAL && ctl(&f, 0, 60, (uint16_t)x) == 0 &&
		  ctl(&f, 0, 60, 0) == -EINVAL);
	memset(&o, 0, sizeof(o));
	xe_assert(ctl(&f, 0, 24, (uint16_t)x) == 0 && ctl(&f, 0, 29, (uint16_t)x) == 0 &&
		  ctl(&f, 0, 64, (uint16_t)x) == 0 && ctl(&f, 0, 64, 0) == -EPERM);
	xe_assert(ctl(&f, 0, 46, (uint16_t)x) == -EOPNOTSUPP && (o.u.target = (uint16_t)x) &&
		  ctl(&f, 0, 46, (uint16_t)x) == -EINVAL && (o.u.target = 999) &&
		  ctl(&f, 0, 46, (uint16_t)x) == -ESRCH);
	memset(&o, 0, sizeof(o));
	xe_assert(ctl(&f, 0, 39, (uint16_t)x) == -EINVAL && (o.u.memory_mapping.nr_mfns = 1) &&
		  ctl(&f, 0, 39, (uint16_t)x) == 0);
	/* shut down and back */
	uint32_t reason = 2;
	xe_assert(op(&f, d, 29, 2, &reason, 4) == 0 && get(&f, d)->flags == 0x20004 &&
		  !info(&f, d).runnable);
	xe_assert(ctl(&f, 0, 27, 0) == -EINVAL && ctl(&f, 0, 27, (uint16_t)d) == 0 &&
		  get(&f, d)->flags == 0xffff0000 && info(&f, d).runnable);
	/* who subscribed to its suspension hears of it, in place of domain 0 */
	uint32_t ev_[6] = {0x7ff0u | d << 16}, back[6] = {d, 0};
	xe_assert(ev(&f, 0, 6, ev_) == 0);
	back[0] = 0;
	back[1] = ev_[1];
	xe_assert(ev(&f, d, 0, back) == 0);
	memset(&o, 0, sizeof(o));
	o.u.port = back[2];
	xe_assert(ctl(&f, 0, 29, (uint16_t)d) == 0);
	while (xe_next_pending_port(f.h, 0) >= 0)
		;
	xe_assert(op(&f, d, 29, 2, &reason, 4) == 0 && xe_next_pending_port(f.h, 0) == (int)ev_[1]);
	xe_assert(ctl(&f, 0, 27, (uint16_t)d) == 0);
	reason = 3;
	xe_assert(op(&f, d, 29, 2, &reason, 4) == 0 && info(&f, d).crashed &&
		  ctl(&f, 0, 27, (uint16_t)d) == 0 && info(&f, d).runnable);
	stop(&f);
}

/* What a PV domain without virtual CPUs is answered, by number, from Xen 4.17. */
static void test_unserved(void)
{
	struct fix f;
	uint32_t x;
	static const struct {
		uint32_t cmd;
		int r;
	} t[] = {
		{0, -ENOSYS},      {6, -ENOSYS},          {9, -ESRCH},
		{10, -EINVAL},     {13, -EINVAL},         {14, -ESRCH},
		{16, -EINVAL},     {19, -EPERM},          {21, -EINVAL},
		{22, -EINVAL},     {23, -EBUSY},          {25, -ESRCH},
		{26, -ENOSYS},     {28, -ESRCH},          {33, -EINVAL},
		{34, -EINVAL},     {37, -EOPNOTSUPP},     {38, -EINVAL},
		{39, -EINVAL},     {40, -EOPNOTSUPP},     {42, -ESRCH},
		{43, -ESRCH},      {44, -ENOSYS},         {45, -EOPNOTSUPP},
		{46, -EOPNOTSUPP}, {47, -EOPNOTSUPP},     {48, -EINVAL},
		{50, -EOPNOTSUPP}, {54, -EINVAL},         {55, -EINVAL},
		{56, -EINVAL},     {57, -ENOSYS},         {61, 0},
		{62, -ESRCH},      {63, -ESRCH},          {65, -ENOSYS},
		{67, -EINVAL},     {68, -EINVAL},         {71, -ENOSYS},
		{72, -ESRCH},      {73, -ESRCH},          {74, -EINVAL},
		{75, -ENODEV},     {77, -EOPNOTSUPP},     {78, -ENODEV},
		{79, -EINVAL},     {81, -ENOSYS},         {84, -EINVAL},
		{85, -EOPNOTSUPP}, {86, -EOPNOTSUPP},     {87, -ENOSYS},
		{1000, -ENOSYS},   {UINT32_MAX, -ENOSYS},
	};

	start(&f, FRAMES, true);
	usual();
	xe_assert(ctl(&f, 0, CREATE, 0) == 0);
	x = o.domain;
	for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		memset(&o, 0, sizeof(o));
		xe_assert(ctl(&f, 0, t[i].cmd, (uint16_t)x) == t[i].r);
	}
	stop(&f);
}

static int64_t context(struct fix *f, uint32_t x, uint32_t cmd, uint32_t vcpu,
		       struct xe_vcpu_context *c)
{
	int64_t r;

	memset(&o, 0, sizeof(o));
	o.u.context.vcpu = vcpu;
	o.u.context.gva = c ? CTX : 0;
	xe_assert(!c || xe_guest_write(f->h, 0, CTX, c, sizeof(*c)) == 0);
	r = ctl(f, 0, cmd, (uint16_t)x);
	xe_assert(!c || xe_guest_read(f->h, 0, CTX, c, sizeof(*c)) == 0);
	return r;
}

#define BAD_FIELD(field, value)                                  \
	do {                                                     \
		uint64_t was_ = (uint64_t)(c.field);             \
		c.field = value;                                 \
		xe_assert(context(&f, x, 12, 0, &c) == -EINVAL); \
		c.field = (__typeof__(c.field))was_;             \
	} while (0)

static void test_contexts(void)
{
	struct fix f;
	static struct xe_vcpu_context c, g;
	uint32_t x;
	uint64_t n, m[4];
	struct xe_frame *fr;

	start(&f, FRAMES, true);
	x = make(&f, 3, 64);
	xe_assert(mem(&f, 0, 6, 4, 0, (uint16_t)x) == 4);
	for (unsigned i = 0; i < 4; i++)
		m[i] = arr(&f, 0, i);
	fr = f.h->frame;
	xe_assert(context(&f, x, 13, 0, &c) == -ENODATA && context(&f, x, 13, 3, &c) == -EINVAL &&
		  context(&f, 0, 13, 0, &c) == -EINVAL && context(&f, 0, 12, 0, &c) == -EINVAL &&
		  context(&f, x, 12, 3, &c) == -EINVAL && context(&f, x, 12, 0, NULL) == 0);
	o.u.context.gva = BAD;
	xe_assert(ctl(&f, 0, 12, (uint16_t)x) == -EFAULT);
	c = (struct xe_vcpu_context){.flags = XE_VGCF_IN_KERNEL};
	xe_assert(context(&f, x, 12, 0, &c) == -EINVAL); /* no root table */
	c.ctrlreg[3] = m[0] << 12;
	BAD_FIELD(regs.rip, 1ull << 63);
	BAD_FIELD(kernel_sp, 1ull << 47);
	BAD_FIELD(gs_base_user, 1ull << 63);
	BAD_FIELD(event_callback, 1ull << 63);
	BAD_FIELD(trap[255].address, 1ull << 63);
	BAD_FIELD(ldt_base, 0xffff830000000000ull);
	BAD_FIELD(ldt_base, 8);
	BAD_FIELD(ldt_ents, 8193);
	BAD_FIELD(vm_assist, 64);
	BAD_FIELD(gdt_ents, 8193);
	BAD_FIELD(gdt_ents, 7169);
	BAD_FIELD(gdt_ents, 1);
	BAD_FIELD(flags, 0);
	BAD_FIELD(ctrlreg[3], 5ull << 40);
	BAD_FIELD(ctrlreg[1], 5ull << 40);
	xe_assert(!f.h->domain[x]->vcpu[0]->initialised &&
		  fr[m[0]].count_info == (XE_PGC_ALLOCATED | 1));
	/* one that does */
	c.regs.cs = 0x10;
	c.kernel_ss = 8;
	c.regs.rip = 0x1234;
	c.debugreg[0] = 0xffff830000000000ull; /* not taken */
	c.debugreg[1] = 0x77;
	c.debugreg[7] = 3;
	c.ctrlreg[0] = 8;
	c.trap[3].cs = 0x10;
	c.vm_assist = 0x21;
	c.gdt_ents = 1;
	c.gdt_frame[0] = m[1];
	xe_assert(context(&f, x, 12, 0, &c) == 0);
	xe_assert((fr[m[0]].type_info & XE_PGT_TYPE) == XE_PGT_LEVEL(4) &&
		  (fr[m[1]].type_info & XE_PGT_TYPE) == XE_PGT_SEG_DESC);
	xe_assert(context(&f, x, 12, 0, &c) == 0); /* the same again is no change */
	c.ctrlreg[3] = m[2] << 12;
	xe_assert(context(&f, x, 12, 0, &c) == -EOPNOTSUPP);
	c.ctrlreg[3] = m[0] << 12;
	c.ctrlreg[1] = m[2] << 12;
	xe_assert(context(&f, x, 12, 0, &c) == -EOPNOTSUPP);
	c.ctrlreg[1] = 0;
	c.gdt_frame[0] = m[2];
	xe_assert(context(&f, x, 12, 0, &c) == -EOPNOTSUPP);
	c.gdt_frame[0] = m[1];
	c.flags |= XE_VGCF_ONLINE;
	xe_assert(context(&f, x, 12, 0, &c) == 0 && get(&f, x)->nr_online_vcpus == 1);
	xe_assert(context(&f, x, 13, 0, &g) == 0 && g.flags == c.flags &&
		  g.ctrlreg[3] == m[0] << 12 && g.ctrlreg[0] == 0x8005003b && g.regs.cs == 0x13 &&
		  g.regs.rflags == 0x200 && g.regs.rip == 0x1234 && g.kernel_ss == 0xb &&
		  !g.debugreg[0] && g.debugreg[1] == 0x77 && g.debugreg[6] == 0xffff0ff0 &&
		  g.debugreg[7] == 0x403 && g.vm_assist == 0x21 && g.trap[3].cs == 0x13 &&
		  g.gdt_ents == 1 && g.gdt_frame[0] == m[1]);
	o.u.context.gva = BAD;
	xe_assert(ctl(&f, 0, 13, (uint16_t)x) == -EFAULT);
	memset(&o, 0, sizeof(o));
	xe_assert(ctl(&f, 0, 14, (uint16_t)x) == 0 && o.u.vcpu_info.online &&
		  !o.u.vcpu_info.running && (o.u.vcpu_info.vcpu = 3) &&
		  ctl(&f, 0, 14, (uint16_t)x) == -EINVAL);
	xen_check(f.h);
	/* reset, and as a user's */
	xe_assert(context(&f, x, 12, 0, NULL) == 0 && context(&f, x, 13, 0, &g) == -ENODATA &&
		  !get(&f, x)->nr_online_vcpus && fr[m[0]].count_info == (XE_PGC_ALLOCATED | 1) &&
		  fr[m[1]].count_info == (XE_PGC_ALLOCATED | 1));
	c = (struct xe_vcpu_context){.flags = XE_VGCF_ONLINE, .ldt_ents = 5, .ldt_base = 0x2000};
	c.ctrlreg[3] = m[0] << 12;
	c.ctrlreg[1] = m[2] << 12;
	xe_assert(context(&f, x, 12, 0, &c) == 0 && context(&f, x, 13, 0, &g) == 0 &&
		  g.ctrlreg[1] == m[2] << 12 && g.ldt_ents == 5 && g.ldt_base == 0x2000);
	n = fr[m[0]].type_info & XE_PGT_COUNT;
	c.flags = XE_VGCF_ONLINE | XE_VGCF_IN_KERNEL;
	xe_assert(context(&f, x, 12, 1, &c) == 0 && (fr[m[0]].type_info & XE_PGT_COUNT) == n + 1 &&
		  get(&f, x)->nr_online_vcpus == 2);
	xen_check(f.h);
	/* triggers */
	memset(&o, 0, sizeof(o));
	xe_assert(ctl(&f, 0, 28, (uint16_t)x) == 0 && f.h->domain[x]->vcpu[0]->nmi_pending);
	for (uint32_t i = 1; i < 6; i++) {
		o.u.trigger.trigger = i;
		xe_assert(ctl(&f, 0, 28, (uint16_t)x) == (i == 3 || i == 4 ? -EINVAL : -ENOSYS));
	}
	/* its death drops everything */
	xe_assert(ctl(&f, 0, DESTROY, (uint16_t)x) == 0 &&
		  ctl(&f, 0, PAUSE, (uint16_t)x) == -ESRCH && xe_host_free_pages(f.h) == f.base);
	stop(&f);
}

static void test_frames(void)
{
	struct fix f;
	uint32_t d;
	uint64_t ma, x[5];

	start(&f, FRAMES, true);
	d = guest(&f);
	xe_assert(xe_guest_translate(f.h, d, XE_GUEST_BASE, &ma) == 0);
	x[0] = ma >> 12;
	x[1] = f.h->domain[d]->vcpu[0]->cr3;
	x[2] = f.h->domain[d]->shared_mfn;
	x[3] = 1; /* domain 0's */
	x[4] = 1ull << 40;
	xe_assert(xe_guest_write(f.h, 0, ARR, x, sizeof(x)) == 0);
	memset(&o, 0, sizeof(o));
	o.u.frame_info.num = 5;
	o.u.frame_info.gva = ARR;
	xe_assert(ctl(&f, 0, 61, (uint16_t)d) == 0 && arr(&f, 0, 0) == 0 &&
		  arr(&f, 0, 1) == 0xc0000000 && arr(&f, 0, 2) == 0xf0000000 &&
		  arr(&f, 0, 3) == 0xf0000000 && arr(&f, 0, 4) == 0xf0000000);
	o.u.frame_info.num = 1025;
	xe_assert(ctl(&f, 0, 61, (uint16_t)d) == -E2BIG);
	o.u.frame_info.num = 1;
	o.u.frame_info.gva = BAD;
	xe_assert(ctl(&f, 0, 61, (uint16_t)d) == -EFAULT);
	/* the hypercall page */
	memset(&o, 0, sizeof(o));
	xe_assert(ctl(&f, 0, 22, (uint16_t)d) == -EINVAL && (o.u.gmfn = x[1]) &&
		  ctl(&f, 0, 22, (uint16_t)d) == -EPERM && (o.u.gmfn = x[0]) &&
		  ctl(&f, 0, 22, (uint16_t)d) == 0);
	static const uint8_t call[] = {0x51, 0x41, 0x53, 0xb8, 29,   0,    0,
				       0,    0x0f, 0x05, 0x41, 0x5b, 0x59, 0xc3};
	static const uint8_t iret[] = {0x51, 0x41, 0x53, 0x50, 0xb8, 23, 0, 0, 0, 0x0f, 0x05};
	uint8_t p[4096];
	xe_assert(xe_guest_read(f.h, d, XE_GUEST_BASE, p, 4096) == 0 &&
		  !memcmp(p + 29 * 32, call, sizeof(call)) &&
		  !memcmp(p + 23 * 32, iret, sizeof(iret)));
	stop(&f);
}

static void test_zombie(void)
{
	struct fix f;
	uint32_t x;
	uint64_t m;

	start(&f, FRAMES, true);
	x = make(&f, 1, 64);
	xe_assert(mem(&f, 0, 6, 1, 0, (uint16_t)x) == 1);
	m = arr(&f, 0, 0);
	xe_assert(hc(&f, 0, 22, XE_GUEST_BASE + 0x9000, m << 12 | 0x67, 0, x) == 0);
	xe_assert(ctl(&f, 0, DESTROY, (uint16_t)x) == 0 && ctl(&f, 0, DESTROY, (uint16_t)x) == 0);
	xe_assert(get(&f, x)->flags == 0xffff0009 && o.u.info.tot_pages == 1);
	/* visible, but nothing can be done for it */
	o.u.max_memkb = 1 << 20;
	xe_assert(ctl(&f, 0, 11, (uint16_t)x) == 0 && mem(&f, 0, 0, 1, 0, (uint16_t)x) == 0);
	usual();
	xe_assert(ctl(&f, 0, CREATE, (uint16_t)x) == -EEXIST);
	xe_assert(ctl(&f, 0, UNPAUSE, (uint16_t)x) == 0 && ctl(&f, 0, PAUSE, (uint16_t)x) == 0 &&
		  !info(&f, x).runnable && ctl(&f, 0, 27, (uint16_t)x) == 0);
	xe_assert(xe_hypercall(f.h, x, 17, (uint64_t[5]){0}, 0) == -ESRCH);
	/* a page given up by hand is no longer its, but stays as long as it is mapped */
	set_arr(&f, 0, 0, m);
	xe_assert(mem(&f, 0, 1, 1, 0, (uint16_t)x) == 1 && get(&f, x)->tot_pages == 1);
	xe_assert(map(&f, 0, XE_GUEST_BASE + 0x9000, 0) == 0);
	memset(&o, 0, sizeof(o));
	xe_assert(ctl(&f, 0, INFO, (uint16_t)x) == -ESRCH &&
		  ctl(&f, 0, DESTROY, (uint16_t)x) == -ESRCH);
	stop(&f);
}

/* The other hypercalls that do nothing here. */
static void test_others(void)
{
	struct fix f;
	uint32_t d, a[34] = {0, 0x15};
	uint32_t hvm[4] = {XE_ABI_domid_SELF};

	start(&f, FRAMES, true);
	d = guest(&f);
	for (uint32_t nr = 0; nr < 80; nr++)
		if (nr == 11 || nr == 27 || nr == 38 || nr == 39 || nr == 43 || nr > 55 ||
		    (nr > 49 && nr < 55))
			xe_assert(hc(&f, 0, nr, 0, 0, 0, 0) == -ENOSYS);
	xe_assert(hc(&f, 0, UINT32_MAX, 0, 0, 0, 0) == -ENOSYS);
	/* sysctl, platform_op: argument, version, right */
	xe_assert(hc(&f, d, 35, BAD, 0, 0, 0) == -EFAULT && hc(&f, d, 7, BAD, 0, 0, 0) == -EFAULT);
	xe_assert(xe_guest_write(f.h, d, ARR, a, sizeof(a)) == 0 &&
		  hc(&f, d, 35, ARR, 0, 0, 0) == -EPERM && hc(&f, d, 7, ARR, 0, 0, 0) == -EACCES);
	xe_assert(xe_guest_write(f.h, 0, ARR, a, sizeof(a)) == 0 &&
		  hc(&f, 0, 35, ARR, 0, 0, 0) == -ENOSYS && hc(&f, 0, 7, ARR, 0, 0, 0) == -EACCES);
	a[1] = 0x03000001;
	xe_assert(xe_guest_write(f.h, d, ARR, a, sizeof(a)) == 0 &&
		  hc(&f, d, 7, ARR, 0, 0, 0) == -EPERM && hc(&f, d, 35, ARR, 0, 0, 0) == -EACCES);
	xe_assert(hc(&f, d, 48, BAD, 0, 0, 0) == -EPERM && hc(&f, 0, 48, BAD, 0, 0, 0) == -EFAULT &&
		  hc(&f, 0, 48, ARR, 0, 0, 0) == -EACCES);
	xe_assert(hc(&f, d, 37, 0, 0, 0, 0) == -EPERM && hc(&f, 0, 37, 0, ARR, 0, 0) == -ENOSYS &&
		  hc(&f, 0, 37, 0, BAD, 0, 0) == -EFAULT && hc(&f, 0, 37, 7, BAD, 0, 0) == 0);
	xe_assert(hc(&f, d, 42, 0, 0, 0, 0) == -EPERM && hc(&f, 0, 42, 0, 0, 0, 0) == 1 &&
		  hc(&f, 0, 42, 0, 1, 0, 0) == -EINVAL && hc(&f, 0, 42, 3, 0, 0, 0) == -EINVAL);
	xe_assert(hc(&f, d, 40, 0, 0, 0, 0) == -EOPNOTSUPP);
	xe_assert(hc(&f, d, 31, 1, 0, 0, 0) == -EPERM &&
		  hc(&f, d, 31, UINT64_MAX, 0, 0, 0) == -EINVAL &&
		  hc(&f, d, 31, 0, BAD, 0, 0) == -EFAULT && hc(&f, d, 31, 0, ARR, 0, 0) == -ENOSYS);
	xe_assert(hc(&f, d, 33, 4, 0, 0, 0) == 0 && hc(&f, d, 33, 11, 0, 0, 0) == -ENOSYS &&
		  hc(&f, d, 19, BAD, 0, 0, 0) == -EFAULT);
	/* hvm_op, dm_op */
	xe_assert(op(&f, d, 34, 0, hvm, 16) == -EINVAL && op(&f, d, 34, 1, hvm, 16) == -EINVAL &&
		  hc(&f, d, 34, 0, BAD, 0, 0) == -EFAULT && hc(&f, d, 34, 2, 0, 0, 0) == -ENOSYS);
	hvm[0] = 999;
	xe_assert(op(&f, d, 34, 0, hvm, 16) == -ESRCH);
	xe_assert(hc(&f, 0, 41, 0, 0, 0, 0) == -EPERM && hc(&f, 0, 41, 999, 0, 0, 0) == -ESRCH &&
		  hc(&f, 0, 41, 0, 3, BAD, 0) == -E2BIG && hc(&f, 0, 41, 0, 1, BAD, 0) == -EFAULT &&
		  hc(&f, 0, 41, d, 1, ARR, 0) == -EINVAL);
	/* the rest of a shadow_op */
	memset(&o, 0, sizeof(o));
	o.cmd = 10;
	o.version = XE_DOMCTL_VERSION;
	xe_assert(hc(&f, d, 49, BAD, 0, 0, 0) == -EFAULT);
	static const int answer[] = {-EOPNOTSUPP, -ESRCH, -EPERM, -EINVAL};
	for (uint32_t i = 0; i < 4; i++) {
		o.cmd = i == 0 ? 9 : 10;
		o.domain = i == 1 ? 999 : 0;
		xe_assert(xe_guest_write(f.h, i == 2 ? d : 0, ARR, &o, sizeof(o)) == 0);
		xe_assert(hc(&f, i == 2 ? d : 0, 49, ARR, 0, 0, 0) == answer[i]);
	}
	stop(&f);
}

/* It may be destroyed by the toolstack; who comes next is not the control domain. */
static void test_domain_0_is_the_first(void)
{
	struct fix f;

	start(&f, FRAMES, true);
	xe_assert(xe_domain_destroy(f.h, 0) == 0 && guest(&f) == 1);
	xe_assert(!info(&f, 0).exists);
	stop(&f);
}

int main(void)
{
	test_create();
	test_many();
	test_rights();
	test_info_and_pauses();
	test_unserved();
	test_contexts();
	test_frames();
	test_zombie();
	test_others();
	test_domain_0_is_the_first();
	puts("domctl: ok");
	return 0;
}
