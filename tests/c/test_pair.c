/* Protection pairs: grants, states, the log's way from domain to domain, trials, recoveries in place. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "xen_fix.h"

/* Boots the backup of p up to "suspended with the primary's address". */
static uint32_t protect(struct fix *f, uint32_t p)
{
	struct xe_zl_arg a = {0};
	uint32_t b;

	xe_assert(ZL(f, p, SUSPEND_BACKUP) == -ENOENT && ZL(f, p, MIGRATE) == -ENOENT);
	xe_assert(ZL(f, p, CHANGE_BACKUP_IP, .value = 1) == -ENOENT);
	xe_assert(zl(f, p, XE_ABI_zl_BOOT_BACKUP, &a) == 0);
	b = a.domid;
	expect(f, XE_VMM_BOOT_BACKUP, p, b);
	xe_assert(info(f, b).runnable && info(f, b).tot_pages == PAGES &&
		  pair(f, b).state == XE_PAIR_BOOTING);
	xe_assert(ZL(f, p, BOOT_BACKUP) == -EBUSY && ZL(f, p, SUSPEND_BACKUP) == -EBUSY &&
		  !pair(f, b).backup_booted);
	xe_assert(ZL(f, p, BOOT_DONE) == -EPERM && ZL(f, b, BOOT_DONE, .value = 7) == 0);
	expect(f, XE_VMM_BOOT_DONE, b, 7);
	xe_assert(xe_vzs_complete(f->h, p, 0) == 0 && xe_vzs_complete(f->h, p, 0) == -EINVAL);
	xe_assert(zl(f, p, XE_ABI_zl_GET_SIGNAL, &a) == 0 && a.value == XE_ABI_zl_signal_COMPLETE);
	xe_assert(ZL(f, p, BOOT_BACKUP) == -EEXIST && ZL(f, b, BOOT_DONE) == -EINVAL);
	xe_assert(ZL(f, p, WAKEUP_BACKUP) == -EINVAL && ZL(f, p, MIGRATE) == -EINVAL);
	xe_assert(ZL(f, p, CHANGE_BACKUP_IP, .value = 2) == -EINVAL);
	xe_assert(ZL(f, p, CHANGE_BACKUP_IP, .value = 1) == 0);
	expect(f, XE_VMM_CHANGE_IP, p, b);
	xe_assert(ZL(f, p, SUSPEND_BACKUP) == -EBUSY && ZL(f, p, GET_IP) == -EPERM &&
		  ZL(f, p, IP_SET) == -EPERM);
	xe_assert(zl(f, b, XE_ABI_zl_GET_IP, &a) == 0 && a.value == pair(f, p).ip);
	xe_assert(ZL(f, b, IP_SET, .value = 1) == -EINVAL &&
		  ZL(f, b, IP_SET, .value = a.value) == 0);
	expect(f, XE_VMM_IP_SET, b, a.value);
	xe_assert(pair(f, p).backup_has_primary_ip && xe_vzs_complete(f->h, p, 0) == 0);
	xe_assert(ZL(f, p, SUSPEND_BACKUP) == 0 && ZL(f, p, SUSPEND_BACKUP) == -EINVAL &&
		  ZL(f, p, MIGRATE) == -EINVAL);
	expect(f, XE_VMM_SUSPENDED, b, 0);
	xe_assert(ZL(f, p, CHANGE_BACKUP_IP, .value = 1) == -EINVAL && !info(f, b).runnable);
	return b;
}

static void register_log(struct fix *f, uint32_t p)
{
	uint64_t x0, x1;

	xe_assert(mem(f, p, 6, EXTENTS, 9, 0x7ff0) == EXTENTS);
	x0 = arr(f, p, 0);
	x1 = arr(f, p, 1);
	xe_assert(ZL(f, p, REGISTER_LOG, .addr = ARR) == -EINVAL);
	xe_assert(ZL(f, p, REGISTER_LOG, .addr = BAD, .count = EXTENTS) == -EFAULT);
	set_arr(f, p, 1, x0);
	xe_assert(ZL(f, p, REGISTER_LOG, .addr = ARR, .count = EXTENTS) ==
		  -EINVAL); /* twice the same */
	set_arr(f, p, 1, x1 + 1);
	xe_assert(ZL(f, p, REGISTER_LOG, .addr = ARR, .count = EXTENTS) == -EINVAL);
	set_arr(f, p, 1, 0);
	xe_assert(ZL(f, p, REGISTER_LOG, .addr = ARR, .count = EXTENTS) ==
		  -EPERM); /* not its own */
	set_arr(f, p, 1, x1);
	for (unsigned i = 0; i < LOG_PAGES; i++)
		xe_assert(map(f, p, XE_LOG_WINDOW + i * 4096ull, (i < 512 ? x0 : x1 - 512) + i) ==
			  0);
	xe_assert(ZL(f, p, REGISTER_LOG, .addr = ARR, .count = EXTENTS) == 0);
	expect(f, XE_VMM_LOG_REGISTERED, p, EXTENTS);
	xe_assert(ZL(f, p, REGISTER_LOG, .addr = ARR, .count = EXTENTS) == -EEXIST &&
		  info(f, p).refs == 4);
	xe_assert(mem(f, p, 1, 1, 9, 0x7ff0) == 0);
	xe_assert(xe_guest_write(f->h, p, XE_LOG_WINDOW + 4090, "the log", 8) == 0);
}

/* Recovers from p to b; the old one is destroyed before or after. */
static void recover(struct fix *f, uint32_t p, uint32_t b, bool early)
{
	struct xe_zl_arg a = {.addr = ARR, .count = 1};
	uint8_t *ext[EXTENTS];
	char text[8];
	uint64_t x[EXTENTS];

	xe_assert(ZL(f, b, GET_LOG) == -EPERM && ZL(f, b, START_REPLAY) == -EPERM &&
		  ZL(f, b, RECOVERY_DONE) == -EPERM);
	xe_assert(xe_vzs_fence(f->h, p) == 0 && xe_vzs_fence(f->h, p) == -EBUSY);
	xe_assert(pair(f, b).state == XE_PAIR_RECOVERING && pair(f, b).old_primary == p &&
		  !info(f, p).runnable);
	xe_assert(xe_guest_read(f->h, p, XE_LOG_WINDOW, text, 8) == -EFAULT &&
		  info(f, p).refs == 4);
	xe_assert(xe_domain_unpause(f->h, b) == 0);
	xe_assert(xe_pair_log_extents(f->h, b, ext, EXTENTS) == EXTENTS &&
		  !memcmp(ext[0] + 4090, "the log", 8));
	for (int i = 0; i < EXTENTS; i++) {
		x[i] = (uint64_t)(ext[i] - f->mem) / 4096;
		xe_assert(map(f, b, XE_LOG_WINDOW, x[i]) == -EBUSY &&
			  map(f, p, XE_LOG_WINDOW, x[i]) == -EBUSY);
	}
	xe_assert(ZL(f, p, BOOT_BACKUP) == -EBUSY && ZL(f, p, MIGRATE) == -EBUSY &&
		  ZL(f, p, GET_LOG) == -EPERM);
	if (early)
		xe_assert(xe_domain_destroy(f->h, p) == 0 && info(f, p).dying &&
			  info(f, p).tot_pages == LOG_PAGES);
	xe_assert(zl(f, b, XE_ABI_zl_GET_LOG, &a) == -EINVAL && a.count == EXTENTS);
	xe_assert(zl(f, b, XE_ABI_zl_GET_LOG, &a) == 0 && arr(f, b, 0) == x[0] &&
		  arr(f, b, 1) == x[1]);
	for (unsigned i = 0; i < LOG_PAGES; i++)
		xe_assert(map(f, b, XE_LOG_WINDOW + i * 4096ull, x[i / 512] + i % 512) == 0);
	xe_assert(xe_guest_read(f->h, b, XE_LOG_WINDOW + 4090, text, 8) == 0 &&
		  !strcmp(text, "the log"));
	xe_assert(ZL(f, b, START_REPLAY, .value = 3) == 0);
	expect(f, XE_VMM_REPLAY_STARTED, b, 3);
	xe_assert(ZL(f, b, RECOVERY_DONE) == 0);
	expect(f, XE_VMM_RECOVERY_DONE, b, p);
	xe_assert(info(f, b).tot_pages == PAGES + LOG_PAGES &&
		  info(f, b).max_pages == PAGES + LOG_PAGES);
	xe_assert(info(f, b).refs == 4 && info(f, b).ip == pair(f, b).ip &&
		  pair(f, b).old_primary == 0);
	xe_assert(pair(f, b).state == XE_PAIR_GRANTED && pair(f, b).primary == b &&
		  pair(f, b).extents == EXTENTS);
	if (early) {
		xe_assert(!info(f, p).exists);
	} else {
		xe_assert(info(f, p).refs == 3 && info(f, p).tot_pages == PAGES &&
			  info(f, p).max_pages == PAGES);
		xe_assert(ZL(f, p, BOOT_BACKUP) == -EPERM &&
			  map(f, p, XE_LOG_WINDOW, x[0]) == -EBUSY);
		xe_assert(xe_domain_destroy(f->h, p) == 0 && !info(f, p).exists);
	}
	xe_assert(xe_guest_read(f->h, b, XE_LOG_WINDOW + 4090, text, 8) == 0 &&
		  !strcmp(text, "the log"));
}

static void test_pair(bool release)
{
	struct fix f;
	struct xe_zl_arg a;
	struct xe_pair_info pi;
	uint32_t p, b, c, v;
	uint32_t ports[4];

	start(&f, FRAMES, release);
	p = guest(&f);
	xe_assert(ZL(&f, p, INSTALL_GRANT, .domid = p) == -EPERM &&
		  ZL(&f, 0, INSTALL_GRANT, .domid = 77) == -ESRCH);
	xe_assert(ZL(&f, p, BOOT_BACKUP) == -EPERM && ZL(&f, p, SUSPEND_BACKUP) == -EPERM &&
		  ZL(&f, p, WAKEUP_BACKUP) == -EPERM);
	xe_assert(ZL(&f, p, CHANGE_BACKUP_IP) == -EPERM && ZL(&f, p, MIGRATE) == -EPERM &&
		  ZL(&f, p, REPORT_FAULT, .value = 1) == -EPERM);
	xe_assert(ZL(&f, p, REGISTER_LOG) == -EPERM &&
		  ZL(&f, p, REGISTER_WRAPPER, .value = 80) == -EPERM &&
		  ZL(&f, p, QUIESCED) == -EPERM);
	xe_assert(hc(&f, p, 55, 0, BAD, 0, 0) == -EFAULT &&
		  hc(&f, p, 55, 99, ARG, 0, 0) == -ENOSYS);
	xe_assert(ZL(&f, 0, INSTALL_GRANT, .domid = p) == 0 &&
		  ZL(&f, 0, INSTALL_GRANT, .domid = p) == -EEXIST);
	expect(&f, XE_VMM_GRANT_INSTALLED, p, 0);
	xe_assert(xe_vzs_fence(f.h, 55) == -ENOENT && xe_pair_info(f.h, 55, &pi) == -ENOENT);
	xe_assert(xe_vzs_fence_backup(f.h, p) == -ENOENT && xe_vzs_give_up(f.h, p) == -ENOENT &&
		  xe_vzs_boot_backup(f.h, p, &b) == -ENOENT);
	register_log(&f, p);
	v = xe_pair_ports_version(f.h, p);
	xe_assert(ZL(&f, p, REGISTER_WRAPPER, .value = 0) == -EINVAL &&
		  ZL(&f, p, REGISTER_WRAPPER, .value = 65536) == -EINVAL);
	xe_assert(ZL(&f, p, REGISTER_WRAPPER, .value = 80) == 0 &&
		  ZL(&f, p, REGISTER_WRAPPER, .value = 80) == -EEXIST);
	xe_assert(ZL(&f, p, UNREGISTER_WRAPPER, .value = 81) == -ENOENT &&
		  xe_pair_ports_version(f.h, p) != v);
	b = protect(&f, p);
	xe_assert(ZL(&f, p, REGISTER_WRAPPER, .value = 3 << 16 | 21) == 0 &&
		  ZL(&f, p, REGISTER_WRAPPER, .value = 4 << 16 | 21) == -EEXIST &&
		  ZL(&f, p, REGISTER_WRAPPER, .value = 64 << 16 | 22) == -EINVAL);
	xe_assert(xe_pair_ports(f.h, b, ports, 4) == 2 && ports[0] == 80 &&
		  ports[1] == (3 << 16 | 21));
	xe_assert(ZL(&f, p, UNREGISTER_WRAPPER, .value = 3 << 16 | 21) == -EINVAL &&
		  ZL(&f, p, UNREGISTER_WRAPPER, .value = 21) == 0);
	/* wake, migrate */
	xe_assert(ZL(&f, p, WAKEUP_BACKUP) == 0 && ZL(&f, p, QUIESCED) == -EINVAL);
	expect(&f, XE_VMM_WOKEN, b, 0);
	xe_assert(ZL(&f, p, MIGRATE) == 0 && ZL(&f, p, WAKEUP_BACKUP) == -EBUSY &&
		  ZL(&f, p, QUIESCED) == 0);
	expect(&f, XE_VMM_MIGRATE, p, b);
	expect(&f, XE_VMM_QUIESCED, p, 0);
	xe_assert(xe_vzs_complete(f.h, p, -EIO) == 0 && pair(&f, p).state == XE_PAIR_AWAKE);
	a = (struct xe_zl_arg){0};
	xe_assert(zl(&f, p, XE_ABI_zl_GET_SIGNAL, &a) == 0 && (a.value & XE_ABI_zl_signal_FAILED) &&
		  a.status == -EIO);
	xe_assert(ZL(&f, p, SUSPEND_BACKUP) == 0);
	expect(&f, XE_VMM_SUSPENDED, b, 0);
	/* a fault, told once; then two recoveries in a row */
	xe_assert(ZL(&f, p, REPORT_FAULT, .value = 9) == -EINVAL &&
		  ZL(&f, p, REPORT_FAULT, .value = 1) == 0);
	xe_assert(ZL(&f, p, REPORT_FAULT, .value = 1) == 0 &&
		  ZL(&f, 0, REPORT_FAULT, .value = 1) == -EPERM);
	expect(&f, XE_VMM_FAULT, p, XE_ABI_fault_APP);
	expect_none(&f);
	recover(&f, p, b, false);
	c = protect(&f, b);
	recover(&f, b, c, true);
	xe_assert(f.base - xe_host_free_pages(f.h) == PAGES + LOG_PAGES + 1);
	/* the backup dies while it recovers: another one takes over from the same primary */
	b = protect(&f, c);
	xe_assert(xe_vzs_fence(f.h, c) == 0 && xe_vzs_boot_backup(f.h, c, &v) == -EEXIST &&
		  xe_vzs_give_up(f.h, c) == -EBUSY);
	xe_assert(xe_domain_destroy(f.h, b) == 0 && pair(&f, c).state == XE_PAIR_RECOVERING);
	expect(&f, XE_VMM_BACKUP_GONE, c, b);
	xe_assert(pair(&f, c).backup == 0 && pair(&f, c).old_primary == c);
	/* one that fails is fenced: it runs no more and has no right to the log */
	xe_assert(xe_vzs_boot_backup(f.h, c, &b) == 0 && info(&f, b).runnable &&
		  ZL(&f, b, BOOT_DONE) == 0 && ZL(&f, b, BOOT_DONE) == -EINVAL);
	expect(&f, XE_VMM_BOOT_DONE, b, 0);
	xe_assert(ZL(&f, b, REPORT_FAULT, .value = 1) == 0);
	expect(&f, XE_VMM_FAULT, b, XE_ABI_fault_APP);
	a = (struct xe_zl_arg){.addr = ARR, .count = EXTENTS};
	xe_assert(zl(&f, b, XE_ABI_zl_GET_LOG, &a) == 0 &&
		  map(&f, b, XE_LOG_WINDOW, arr(&f, b, 0)) == 0);
	xe_assert(xe_vzs_fence_backup(f.h, c) == 0 && !info(&f, b).runnable &&
		  ZL(&f, b, GET_LOG) == -EPERM);
	xe_assert(xe_guest_read(f.h, b, XE_LOG_WINDOW, &v, sizeof(v)) == -EFAULT &&
		  xe_domain_destroy(f.h, b) == 0);
	/* the primary may go meanwhile: backups are still built like it, the log is kept */
	xe_assert(xe_domain_destroy(f.h, c) == 0 && info(&f, c).dying);
	xe_assert(xe_vzs_boot_backup(f.h, c, &b) == 0 && info(&f, b).tot_pages == PAGES);
	a = (struct xe_zl_arg){.addr = ARR, .count = EXTENTS};
	xe_assert(zl(&f, b, XE_ABI_zl_GET_LOG, &a) == 0 && ZL(&f, b, RECOVERY_DONE) == 0 &&
		  !info(&f, c).exists && pair(&f, b).extents == EXTENTS);
	expect(&f, XE_VMM_RECOVERY_DONE, b, c);
	/* a fault without a backup, and none can be had: all goes */
	xe_assert(xe_vzs_fence(f.h, b) == 0 && pair(&f, b).backup == 0 &&
		  xe_vzs_give_up(f.h, b) == 0 && xe_pair_info(f.h, b, &pi) == -ENOENT);
	xe_assert(xe_domain_destroy(f.h, b) == 0 && !info(&f, b).exists &&
		  xe_host_free_pages(f.h) == f.base);
	expect_none(&f);
	/* without a log: the destroyed primary's id stays taken until the recovery is over */
	p = guest(&f);
	xe_assert(ZL(&f, 0, INSTALL_GRANT, .domid = p) == 0);
	expect(&f, XE_VMM_GRANT_INSTALLED, p, 0);
	b = protect(&f, p);
	xe_assert(xe_vzs_fence(f.h, p) == 0 && xe_domain_destroy(f.h, p) == 0 && info(&f, p).dying);
	xe_assert(ZL(&f, b, GET_LOG) == -ENOENT && ZL(&f, b, RECOVERY_DONE) == 0 &&
		  !info(&f, p).exists);
	expect(&f, XE_VMM_RECOVERY_DONE, b, p);
	/* the primary goes without recovery: the backup stays as it is, the pair goes */
	c = protect(&f, b);
	xe_assert(xe_domain_destroy(f.h, b) == 0 && xe_pair_info(f.h, c, &pi) == -ENOENT &&
		  info(&f, c).exists);
	xe_assert(xe_domain_destroy(f.h, c) == 0 && xe_host_free_pages(f.h) == f.base);
	/* no memory */
	struct xe_domain_config big = {.pages = f.base / 2 + 1, .max_pages = f.base};
	xe_assert(xe_domain_create(f.h, &big, &p) == 0 &&
		  ZL(&f, 0, INSTALL_GRANT, .domid = p) == 0);
	xe_assert(ZL(&f, p, BOOT_BACKUP) == -ENOMEM && xe_domain_destroy(f.h, p) == 0 &&
		  xe_host_free_pages(f.h) == f.base);
	stop(&f);
}

/* A migration: the primary waits, the backup may take over when it was accepted. */
static void test_trial(bool release)
{
	struct fix f;
	uint32_t p, b, id;

	start(&f, FRAMES, release);
	p = guest(&f);
	xe_assert(ZL(&f, 0, INSTALL_GRANT, .domid = p) == 0);
	expect(&f, XE_VMM_GRANT_INSTALLED, p, 0);
	register_log(&f, p);
	for (int round = 0; round < 3; round++) {
		struct xe_zl_arg a = {.addr = ARR, .count = EXTENTS};

		b = protect(&f, p);
		xe_assert(xe_vzs_try(f.h, p) == -EINVAL && ZL(&f, p, WAKEUP_BACKUP) == 0);
		expect(&f, XE_VMM_WOKEN, b, 0);
		xe_assert(ZL(&f, p, MIGRATE) == 0 && xe_vzs_accept(f.h, p) == -ENOENT &&
			  xe_vzs_roll_back(f.h, p, -EIO) == -ENOENT);
		expect(&f, XE_VMM_MIGRATE, p, b);
		xe_assert(xe_vzs_try(f.h, p) == 0 && !info(&f, p).runnable);
		xe_assert(pair(&f, p).state == XE_PAIR_RECOVERING && pair(&f, p).old_primary == p);
		xe_assert(xe_guest_read(f.h, p, XE_LOG_WINDOW, &id, sizeof(id)) == 0);
		xe_assert(zl(&f, b, XE_ABI_zl_GET_LOG, &a) == 0 &&
			  map(&f, b, XE_LOG_WINDOW, arr(&f, b, 0)) == 0);
		xe_assert(ZL(&f, b, RECOVERY_DONE) == -EBUSY && ZL(&f, p, RECOVERY_DONE) == -EPERM);
		if (round < 2) { /* sent away: alive, or destroyed already */
			xe_assert(round == 0 || xe_domain_destroy(f.h, b) == 0);
			if (round == 1)
				expect(&f, XE_VMM_BACKUP_GONE, p, b);
			xe_assert(xe_vzs_roll_back(f.h, p, -ECANCELED) == 0 &&
				  info(&f, p).runnable);
			xe_assert(pair(&f, p).state == XE_PAIR_GRANTED && !pair(&f, p).backup &&
				  !pair(&f, p).old_primary);
			a = (struct xe_zl_arg){0};
			xe_assert(zl(&f, p, XE_ABI_zl_GET_SIGNAL, &a) == 0 &&
				  a.value & XE_ABI_zl_signal_FAILED && a.status == -ECANCELED);
			xe_assert(round == 1 || (!info(&f, b).runnable &&
						 xe_guest_read(f.h, b, XE_LOG_WINDOW, &id,
							       sizeof(id)) == -EFAULT &&
						 xe_domain_destroy(f.h, b) == 0));
			continue;
		}
		xe_assert(xe_vzs_accept(f.h, p) == 0 && xe_vzs_roll_back(f.h, p, -EIO) == -ENOENT);
		xe_assert(xe_guest_read(f.h, p, XE_LOG_WINDOW, &id, sizeof(id)) == -EFAULT);
		xe_assert(ZL(&f, b, RECOVERY_DONE) == 0 && pair(&f, b).primary == b);
		expect(&f, XE_VMM_RECOVERY_DONE, b, p);
		xe_assert(xe_domain_destroy(f.h, p) == 0);
	}
	/* the primary goes in a trial: there is no way back, and RECOVERY_DONE is all there is */
	p = b;
	b = protect(&f, p);
	xe_assert(ZL(&f, p, WAKEUP_BACKUP) == 0 && ZL(&f, p, MIGRATE) == 0);
	expect(&f, XE_VMM_WOKEN, b, 0);
	expect(&f, XE_VMM_MIGRATE, p, b);
	xe_assert(xe_vzs_try(f.h, p) == 0 && xe_domain_destroy(f.h, p) == 0 &&
		  xe_vzs_roll_back(f.h, p, -EIO) == -ENOENT);
	xe_assert(ZL(&f, b, GET_LOG, .addr = ARR, .count = EXTENTS) == 0 &&
		  ZL(&f, b, RECOVERY_DONE) == 0 && !info(&f, p).exists);
	expect(&f, XE_VMM_RECOVERY_DONE, b, p);
	xe_assert(xe_domain_destroy(f.h, b) == 0 && xe_host_free_pages(f.h) == f.base);
	expect_none(&f);
	stop(&f);
}

/* The service recovers where it was; the backup sleeps on, or is lost meanwhile. */
static void test_in_place(bool release)
{
	struct fix f;
	struct xe_zl_arg a = {0};
	uint32_t p, b;

	start(&f, FRAMES, release);
	p = guest(&f);
	xe_assert(xe_vzs_restart(f.h, p) == -ENOENT && ZL(&f, 0, INSTALL_GRANT, .domid = p) == 0);
	expect(&f, XE_VMM_GRANT_INSTALLED, p, 0);
	register_log(&f, p);
	b = protect(&f, p);
	xe_assert(ZL(&f, p, REPORT_FAULT, .value = 1) == 0 && xe_vzs_restart(f.h, p) == 0 &&
		  xe_vzs_restart(f.h, p) == -EBUSY);
	expect(&f, XE_VMM_FAULT, p, XE_ABI_fault_APP);
	xe_assert(zl(&f, p, XE_ABI_zl_GET_SIGNAL, &a) == 0 && a.value & XE_ABI_zl_signal_RESTART);
	xe_assert(info(&f, p).runnable && ZL(&f, p, WAKEUP_BACKUP) == -EBUSY &&
		  ZL(&f, b, START_REPLAY) == -EPERM && ZL(&f, b, GET_LOG) == -EPERM);
	xe_assert(xe_vzs_fence_backup(f.h, p) == -ENOENT && xe_vzs_give_up(f.h, p) == -ENOENT);
	xe_assert(ZL(&f, p, REPORT_FAULT, .value = 1) == 0); /* another one */
	expect(&f, XE_VMM_FAULT, p, XE_ABI_fault_APP);
	xe_assert(ZL(&f, p, START_REPLAY) == 0 && ZL(&f, p, RECOVERY_DONE) == 0);
	expect(&f, XE_VMM_REPLAY_STARTED, p, 0);
	expect(&f, XE_VMM_RECOVERY_DONE, p, p);
	xe_assert(pair(&f, p).state == XE_PAIR_SUSPENDED && pair(&f, p).backup == b);
	/* the backup goes meanwhile */
	xe_assert(xe_vzs_restart(f.h, p) == 0 && xe_domain_destroy(f.h, b) == 0 &&
		  zl(&f, p, XE_ABI_zl_GET_SIGNAL, &a) == 0);
	expect(&f, XE_VMM_BACKUP_GONE, p, b);
	xe_assert(ZL(&f, p, RECOVERY_DONE) == 0 && pair(&f, p).state == XE_PAIR_GRANTED);
	expect(&f, XE_VMM_RECOVERY_DONE, p, p);
	/* left to the backup */
	b = protect(&f, p);
	xe_assert(xe_vzs_restart(f.h, p) == 0);
	recover(&f, p, b, false);
	/* the domain goes meanwhile */
	xe_assert(xe_vzs_restart(f.h, b) == 0 && xe_domain_destroy(f.h, b) == 0);
	xe_assert(xe_host_free_pages(f.h) == f.base);
	expect_none(&f);
	stop(&f);
}

int main(void)
{
	for (int release = 0; release < 2; release++) {
		test_pair(release);
		test_trial(release);
		test_in_place(release);
	}
	puts("pairs: ok");
	return 0;
}
