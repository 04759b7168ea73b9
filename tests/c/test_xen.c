/* The host: frames, zombies, page walks, event channels; all by hypercalls whose arguments go through
 * guest memory. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "xen_fix.h"

static void test_memory(bool release)
{
	struct fix f;
	uint64_t ma, v = 0x1122334455667788, usable, maddr2;
	uint32_t d;
	uint8_t buf[8192], zero[4096] = {0};
	uint16_t dom = 77;

	start(&f, FRAMES, release);
	d = guest(&f);
	usable = info(&f, d).usable_pages;
	xe_assert(info(&f, d).tot_pages == PAGES && info(&f, d).refs == 3 &&
		  info(&f, d).ip == 0x0a000003);
	xe_assert(f.base - xe_host_free_pages(f.h) == PAGES + 1); /* shared_info */
	for (uint64_t p = 0; p < PAGES; p++)
		xe_assert(xe_guest_translate(f.h, d, XE_GUEST_BASE + p * 4096, &ma) == 0);
	xe_assert(xe_guest_translate(f.h, d, XE_GUEST_BASE + PAGES * 4096ull, &ma) == -EFAULT);
	xe_assert(xe_guest_translate(f.h, d, 0x0001880000000000ull, &ma) == -EFAULT);
	xe_assert(xe_guest_translate(f.h, d, XE_LOG_WINDOW, &ma) == -EFAULT);
	xe_assert(xe_guest_write(f.h, d, XE_GUEST_BASE + 4092, &v, 8) == 0);
	v = 0;
	xe_assert(xe_guest_read(f.h, d, XE_GUEST_BASE + 4092, &v, 8) == 0 &&
		  v == 0x1122334455667788);
	xe_assert(xe_guest_translate(f.h, d, XE_GUEST_BASE + 5, &ma) == 0 && ma % 4096 == 5);
	xe_assert(xe_guest_read(f.h, d, XE_GUEST_BASE + info(&f, d).p2m_pfn * 4096, &v, 8) == 0 &&
		  v == ma >> 12);
	xe_assert(xe_guest_write(f.h, d, table_gva(&f, d, 0), &v, 8) == -EFAULT);
	xe_assert(xe_guest_read(f.h, d, XE_GUEST_BASE + (PAGES - 1) * 4096ull, buf, 8192) ==
		  -EFAULT);
	xe_assert(xe_guest_read(f.h, d, UINT64_MAX - 3, buf, 8) == -EFAULT);
	xe_assert(xe_guest_read(f.h, 33, XE_GUEST_BASE, buf, 8) == -EFAULT);

	/* reservation */
	xe_assert(mem(&f, d, 0, 1, 0, 0x7ff0) == 1);
	xe_assert(mem(&f, d, 0, 1, 30, 0x7ff0) == 0 && mem(&f, d, 0, 1, 0, 77) == 0 &&
		  mem(&f, d, 0, 0, 0, 0x7ff0) == 0);
	xe_assert(mem(&f, d, 0, 1, 0, 0) == 0 && hc(&f, d, 12, 0, BAD, 0, 0) == 0);
	xe_assert(hc(&f, d, 12, 60, 0, 0, 0) == -ENOSYS && op(&f, d, 12, 3, &dom, 2) == -ESRCH);
	dom = 0x7ff0;
	xe_assert(op(&f, d, 12, 3, &dom, 2) == PAGES + 1 &&
		  op(&f, d, 12, 4, &dom, 2) == PAGES + LOG_PAGES);
	v = arr(&f, d, 0);
	xe_assert(map(&f, d, XE_LOG_WINDOW, v) == 0);
	xe_assert(xe_guest_write(f.h, d, XE_LOG_WINDOW, "dirty", 5) == 0);
	xe_assert(mem(&f, d, 1, 1, 0, 0x7ff0) == 1 &&
		  info(&f, d).tot_pages == PAGES + 1); /* mapped: stays */
	xe_assert(mem(&f, d, 1, 1, 0, 0x7ff0) == 1); /* as long as it does */
	xe_assert(map(&f, d, XE_LOG_WINDOW, 0) == 0 && info(&f, d).tot_pages == PAGES);
	xe_assert(mem(&f, d, 1, 1, 0, 0x7ff0) == 0);
	xe_assert(xe_guest_read(f.h, d, XE_LOG_WINDOW, buf, 1) == -EFAULT); /* the TLB knows */
	xe_assert(mem(&f, d, 6, 1, 0, 0x7ff0) == 1 && arr(&f, d, 0) == v);
	xe_assert(map(&f, d, XE_LOG_WINDOW, v) == 0 &&
		  xe_guest_read(f.h, d, XE_LOG_WINDOW, buf, 4096) == 0);
	xe_assert(!memcmp(buf, zero, 4096));
	xe_assert(mem(&f, d, 6, 3, 9, 0x7ff0) == 1); /* the second would go over max_pages */
	xe_assert(arr(&f, d, 0) % 512 == 0);

	/* mappings that Xen refuses */
	xe_assert(map(&f, d, 0x7f0000000000, 0) == -EINVAL &&
		  map(&f, d, 0xffff830000000000, 0) == -EINVAL);
	xe_assert(map(&f, d, XE_LOG_WINDOW, 0xfffffffff) == -EPERM);
	xe_assert(xe_guest_translate(f.h, 0, XE_GUEST_BASE, &maddr2) == 0);
	xe_assert(map(&f, d, XE_LOG_WINDOW, maddr2 >> 12) == -EBUSY);
	xe_assert(xe_guest_translate(f.h, d, table_gva(&f, d, 0), &ma) == 0);
	xe_assert(map(&f, d, XE_LOG_WINDOW, ma >> 12) == -EBUSY); /* a table, writable */
	uint64_t up[2] = {ma, 5};
	xe_assert(xe_guest_write(f.h, d, ARR, up, 16) == 0 &&
		  hc(&f, d, 1, ARR, 1, 0, 0x7ff0) == -EINVAL); /* L4 */
	xe_assert(hc(&f, d, 1, ARR, 1, 0, 77) == -ESRCH &&
		  hc(&f, d, 1, BAD, 1, 0, 0x7ff0) == -EFAULT);
	xe_assert(hc(&f, d, 1, ARR, 1, 0, 0) == -EPERM);
	up[0] = 3;
	xe_assert(xe_guest_write(f.h, d, ARR, up, 16) == 0 &&
		  hc(&f, d, 1, ARR, 1, 0, 0x7ff0) == -EINVAL);
	xe_assert(xe_guest_translate(f.h, d, XE_GUEST_BASE, &ma) == 0);
	up[0] = ma;
	xe_assert(xe_guest_write(f.h, d, ARR, up, 16) == 0 &&
		  hc(&f, d, 1, ARR, 1, ARR + 64, 0x7ff0) == 0);
	xe_assert(xe_guest_read(f.h, d, XE_GUEST_BASE, &v, 8) == 0 && v == 5 &&
		  arr(&f, d, 8) << 32 >> 32 == 1);
	/* the first L1 entry of the direct map: page 0 unmapped through its table */
	xe_assert(xe_guest_translate(f.h, d, table_gva(&f, d, 5), &ma) == 0);
	up[0] = ma;
	up[1] = 0;
	xe_assert(xe_guest_write(f.h, d, ARR, up, 16) == 0 && hc(&f, d, 1, ARR, 1, 0, 0x7ff0) == 0);
	xe_assert(xe_guest_read(f.h, d, XE_GUEST_BASE, &v, 8) == -EFAULT);
	xe_assert(usable < PAGES && xe_domain_destroy(f.h, d) == 0 &&
		  xe_domain_destroy(f.h, d) == -ESRCH);
	xe_assert(xe_host_free_pages(f.h) == f.base);
	d = guest(&f);
	for (uint64_t p = 0; p < usable; p++) {
		xe_assert(xe_guest_read(f.h, d, XE_GUEST_BASE + p * 4096, buf, 4096) == 0);
		xe_assert(!memcmp(buf, zero, 4096));
	}
	stop(&f);
}

static void test_evtchn_sched(void)
{
	struct fix f;
	uint32_t d, e, a[6], l1, reason = 3;
	uint8_t o[144];
	char text[8] = {0};
	struct xe_work w;

	start(&f, FRAMES, true);
	d = guest(&f);
	e = guest(&f);
#define EV(dom, cmd, ...) ev(&f, dom, cmd, memcpy(a, (uint32_t[6]){__VA_ARGS__}, 24))
#define SELF2 0x7ff07ff0u
	xe_assert(EV(d, 6, SELF2) == 0 && a[1] == 1);
	xe_assert(EV(0, 6, 0x7ff0u << 16 | 5) == -ESRCH && EV(d, 6, 0x7ff0u << 16) == -EPERM);
	xe_assert(EV(d, 6, 77u << 16 | 0x7ff0) == 0 && a[1] == 2);
	xe_assert(hc(&f, d, 32, 6, BAD, 0, 0) == -EFAULT && EV(d, 99, 0) == -ENOSYS);
	xe_assert(EV(d, 5, 0x7ff0, 1) == 0 && a[2] == 1 && EV(d, 4, 1) == 0);
	xe_assert(EV(d, 0, 0x7ff0, 1) == 0 && a[2] == 3);
	l1 = 3;
	xe_assert(xe_next_pending_port(f.h, d) == 3 && xe_next_pending_port(f.h, d) == -1);
	xe_assert(xe_host_next_work(f.h, &w) && w.kind == XE_WORK_UPCALL && w.node == d);
	xe_assert(EV(d, 0, 0x7ff0, 1) == -EINVAL && EV(d, 0, 0x7ff0, 2) == -EINVAL &&
		  EV(d, 0, 0x7ff0, 60) == -EINVAL);
	xe_assert(EV(d, 0, 0x7ff0, 4096) == -EINVAL && EV(d, 0, 77, 1) == -ESRCH);
	xe_assert(EV(d, 5, 0x7ff0, l1) == 0 && a[2] == 2 && EV(d, 5, 0x7ff0, 60) == 0 && a[2] == 0);
	xe_assert(EV(d, 5, 0x7ff0, 4096) == -EINVAL && EV(d, 5, 0x7ff0, 0) == 0 &&
		  EV(d, 5, 77, 1) == -ESRCH);
	xe_assert(EV(d, 4, l1) == 0 && EV(d, 4, 60) == -EINVAL && EV(d, 4, 4096) == -EINVAL &&
		  EV(d, 4, 0) == -EINVAL);
	xe_assert(xe_next_pending_port(f.h, d) == 1);
	xe_assert(EV(d, 1, 0, 0) == 0 && a[2] == 4 && EV(d, 1, 0, 0) == -EEXIST &&
		  EV(d, 1, 24, 0) == -EINVAL);
	xe_assert(EV(d, 1, 1, 5) == -ENOENT && EV(d, 1, 3, 1) == -EINVAL && EV(d, 1, 3, 0) == 0 &&
		  a[2] == 5);
	xe_assert(EV(d, 4, 4) == -EINVAL && EV(d, 7, 0) == 0 && a[1] == 6 &&
		  EV(d, 7, 9) == -ENOENT && EV(d, 4, 6) == 0);
	xe_assert(EV(d, 8, 6, 0) == -EINVAL && EV(d, 8, 4, 0) == -EINVAL && EV(d, 8, 5, 0) == 0 &&
		  EV(d, 8, l1, 0) == 0);
	xe_assert(EV(d, 8, 60, 9) == -ENOENT && EV(d, 8, 4096, 0) == -EINVAL);
	xe_assert(EV(d, 9, l1) == 0 && EV(d, 9, 60) == 0 && EV(d, 9, 4096) == -EINVAL);
	xe_assert(EV(d, 3, l1) == 0 && EV(d, 3, l1) == -EINVAL && EV(d, 5, 0x7ff0, 1) == 0 &&
		  a[2] == 1);
	xe_assert(EV(d, 3, 0) == -EINVAL && EV(d, 3, 4096) == -EINVAL && EV(d, 10, 77) == -ESRCH);
	xe_assert(EV(0, 10, d) == -EINVAL && EV(d, 10, 0x7ff0) == 0 && EV(d, 5, 0x7ff0, 1) == 0 &&
		  a[2] == 0);
	int n = 0;
	while (EV(d, 6, SELF2) == 0)
		n++;
	xe_assert(n == 4095 && EV(d, 6, SELF2) == -ENOSPC && EV(d, 10, 0x7ff0) == 0);
	/* masked: no upcall until unmasked; then across domains, and the peer's death */
	xe_assert(EV(e, 6, d << 16 | 0x7ff0) == 0 && a[1] == 1 && EV(d, 0, e, 1) == 0 && a[2] == 1);
	expect_none(&f);
	uint64_t mask = 2, sh = XE_LOG_WINDOW;
	xe_assert(map(&f, e, sh, start_info(&f, e).shared_info >> 12) == 0);
	xe_assert(xe_guest_write(f.h, e, sh + 2560, &mask, 8) == 0 && EV(d, 4, 1) == 0);
	xe_assert(!xe_host_next_work(f.h, &w) && xe_next_pending_port(f.h, e) == -1);
	xe_assert(EV(e, 9, 1) == 0 && xe_host_next_work(f.h, &w) && w.node == e &&
		  xe_next_pending_port(f.h, e) == 1);
	/* paused: the upcall comes when it is woken */
	xe_assert(xe_domain_pause(f.h, e) == 0 && EV(d, 4, 1) == 0 && !xe_host_next_work(f.h, &w));
	xe_assert(xe_domain_unpause(f.h, e) == 0 && xe_host_next_work(f.h, &w) && w.node == e);
	xe_assert(xe_domain_unpause(f.h, e) == -EINVAL);
	/* scheduling */
	xe_assert(xe_next_pending_port(f.h, e) == 1 && xe_next_pending_port(f.h, e) == -1);
	xe_assert(hc(&f, e, 29, 1, 0, 0, 0) == 0);
	for (int i = 0; i < 4; i++)
		xe_assert(xe_sched_next(f.h) == (i % 2 ? (int)d : 0));
	xe_assert(EV(d, 4, 1) == 0 && xe_sched_next(f.h) == 0 && xe_sched_next(f.h) == (int)d &&
		  xe_sched_next(f.h) == (int)e);
	xe_assert(hc(&f, d, 29, 0, 0, 0, 0) == 0 && hc(&f, d, 29, 99, 0, 0, 0) == -ENOSYS &&
		  hc(&f, d, 29, 2, BAD, 0, 0) == -EFAULT);
	expect_none(&f);
	xe_assert(op(&f, e, 29, 2, &reason, 4) == 0 && info(&f, e).crashed &&
		  !info(&f, e).runnable);
	expect(&f, XE_VMM_FAULT, e, XE_ABI_fault_KERNEL);
	xe_assert(xe_domain_destroy(f.h, e) == 0 && EV(d, 5, 0x7ff0, 1) == 0 && a[2] == 1);
	/* domctl */
	memset(o, 0, sizeof(o));
	xe_assert(domctl(&f, 0, 5, 1, 0, o) == -EACCES && domctl(&f, d, 5, 0x15, 0, o) == -EPERM);
	xe_assert(hc(&f, 0, 36, BAD, 0, 0, 0) == -EFAULT &&
		  domctl(&f, 0, 9999, 0x15, 0, o) == -ENOSYS);
	for (uint32_t c = 2; c <= 4; c++)
		xe_assert(domctl(&f, 0, c, 0x15, 0, o) == -EINVAL &&
			  domctl(&f, 0, c, 0x15, 77, o) == -ESRCH);
	xe_assert(create(&f, 0, o) == 0 && o[8] == e && create(&f, e, o) == -EEXIST);
	xe_assert(domctl(&f, 0, 5, 0x15, e, o) == 0 && !memcmp(o + 20, &(uint32_t){0xffff0008}, 4));
	xe_assert(mem(&f, 0, 6, 1, 0, e) == 0);
	memcpy(o + 16, &(uint64_t){64}, 8);
	xe_assert(domctl(&f, 0, 11, 0x15, e, o) == 0 && mem(&f, 0, 6, 2, 0, e) == 2 &&
		  mem(&f, 0, 6, 32, 0, e) == 14);
	xe_assert(domctl(&f, 0, 4, 0x15, e, o) == 0 && domctl(&f, 0, 4, 0x15, e, o) == -EINVAL);
	/* a zombie, kept by a foreign mapping of the control domain */
	uint64_t l1ma, up[2], m = arr(&f, 0, 0);
	xe_assert(map(&f, 0, XE_GUEST_BASE, m) == -EBUSY);
	xe_assert(xe_guest_translate(f.h, 0, table_gva(&f, 0, 3), &l1ma) == 0);
	up[0] = l1ma;
	up[1] = m << 12 | 0x67;
	xe_assert(xe_guest_write(f.h, 0, ARR, up, 16) == 0 && hc(&f, 0, 1, ARR, 1, 0, e) == 0);
	xe_assert(domctl(&f, 0, 2, 0x15, e, o) == 0 && domctl(&f, 0, 2, 0x15, e, o) == 0);
	xe_assert(info(&f, e).dying && info(&f, e).tot_pages == 1 &&
		  map(&f, 0, XE_GUEST_BASE, 0) == 0);
	xe_assert(domctl(&f, 0, 5, 0x15, e, o) == -ESRCH);
	/* the rest */
	uint32_t fi[2] = {0, 0};
	xe_assert(hc(&f, d, 17, 0, 0, 0, 0) == 262161 && hc(&f, d, 17, 7, 0, 0, 0) == 4096 &&
		  hc(&f, d, 17, 99, 0, 0, 0) == -ENOSYS);
	xe_assert(op(&f, d, 17, 6, fi, 8) == 0 && (fi[0] = 1) &&
		  op(&f, d, 17, 6, fi, 8) == -EINVAL);
	xe_assert(hc(&f, d, 17, 1, BAD, 0, 0) == -EFAULT && hc(&f, d, 17, 1, ARR, 0, 0) == 0);
	xe_assert(hc(&f, d, 60, 0, 0, 0, 0) == -ENOSYS &&
		  xe_host_counters(f.h)->unknown_hypercalls > 0);
	xe_assert(xe_guest_write(f.h, d, ARR, "hello", 5) == 0 && hc(&f, d, 18, 0, 5, ARR, 0) == 0);
	xe_assert(xe_console_read(f.h, d, text, 8) == 5 && !strcmp(text, "hello"));
	xe_assert(hc(&f, d, 18, 0, 5, BAD, 0) == -EFAULT && hc(&f, 0, 18, 99, 0, 0, 0) == -ENOSYS);
	uint64_t mc[4][8] = {{17}, {60}, {32, 0, 99}, {13}};
	xe_assert(xe_guest_write(f.h, d, ARR, mc, sizeof(mc)) == 0 &&
		  hc(&f, d, 13, ARR, 4, 0, 0) == 0);
	xe_assert(arr(&f, d, 1) == 262161 && (int64_t)arr(&f, d, 9) == -ENOSYS &&
		  (int64_t)arr(&f, d, 17) == -ENOSYS);
	xe_assert((int64_t)arr(&f, d, 25) == -EINVAL && hc(&f, d, 13, BAD, 1, 0, 0) == -EFAULT);
	/* paths */
	xe_assert(xe_path_set(f.h, 7, d) == 0 && xe_path_lookup(f.h, 7) == (int)d &&
		  xe_path_set(f.h, 7, 50) == -ESRCH);
	xe_assert(xe_path_clear(f.h, 7) == 0 && xe_path_clear(f.h, 7) == -ENOENT &&
		  xe_path_lookup(f.h, 7) == -ENOENT);
	stop(&f);
}

static void test_heartbeat(void)
{
	struct fix f;
	uint64_t ma, beats = 1;
	uint32_t d;

	start(&f, FRAMES, true);
	d = guest(&f);
	xe_assert(xe_guest_translate(f.h, 0, XE_GUEST_BASE, &ma) == 0);
	xe_assert(ZL(&f, d, REGISTER_HEARTBEAT, .value = ma >> 12) == -EPERM);
	xe_assert(xe_guest_translate(f.h, d, XE_GUEST_BASE, &ma) == 0);
	xe_assert(ZL(&f, d, REGISTER_HEARTBEAT, .value = ma >> 12) == 0);
	xe_assert(xe_heartbeat_arm(f.h, d, true) == 0 && xe_heartbeat_arm(f.h, 40, true) == -ESRCH);
	for (int i = 0; i < 5; i++, beats++) {
		xe_assert(xe_guest_write(f.h, d, XE_GUEST_BASE, &beats, 8) == 0);
		xe_heartbeat_check(f.h, 0);
	}
	xe_domain_pause(f.h, d);
	for (int i = 0; i < 5; i++)
		xe_heartbeat_check(f.h, 0);
	xe_domain_unpause(f.h, d);
	xe_heartbeat_check(f.h, 0);
	expect_none(&f);
	xe_heartbeat_check(f.h, 0);
	expect(&f, XE_VMM_FAULT, d, XE_ABI_fault_KERNEL);
	xe_heartbeat_check(f.h, 0);
	expect_none(&f);
	xe_assert(info(&f, d).crashed && info(&f, d).heartbeats == 5);
	xe_assert(xe_domain_destroy(f.h, d) == 0 && xe_host_free_pages(f.h) == f.base);
	stop(&f);
}

static double ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void test_speed(void)
{
	struct fix f;
	struct xe_domain_config c = {
		.pages = 1 << 18, .max_pages = 1 << 18, .window_pages = 1 << 15};
	uint32_t id;
	double t0, t1, t2;

	start(&f, 3 << 18, true);
	t0 = ms();
	xe_assert(xe_domain_create(f.h, &c, &id) == 0);
	t1 = ms();
	xe_assert(xe_domain_destroy(f.h, id) == 0 && xe_host_free_pages(f.h) == f.base);
	t2 = ms();
	printf("1 GiB domain: create %.1f ms, destroy %.1f ms\n", t1 - t0, t2 - t1);
	stop(&f);
}

int main(void)
{
	test_memory(true);
	test_memory(false);
	test_evtchn_sched();
	test_heartbeat();
	test_speed();
	puts("xen: ok");
	return 0;
}
