/* A guest that reads a script from its module, does what it says and prints what it sees.
 *
 * Each line of a script that shows something becomes one line of the console: '@' and a value. The
 * records and expressions are those of ../script.py, their numbers unsigned LEB128. Faults on the
 * script's pages are answers ("fault"); any other trap ends the run. The script is trusted not to
 * give away what the guest itself stands on: its code, stack, console or base pointer. */
#include <stdbool.h>
#include <stdint.h>
#include <xen/sched.h>
#include <xen/xen.h>

#define PAGE_AT(n) (VIRT_BASE + PAGES + (n) * 4096)
#define PTE_MFN 0x000ffffffffff000ul

enum { VARS = 256, LINES = 4096, DUMP = 512 };
enum op { END, WRITE, STORE, CALL, REPEAT, LOAD, SHOW, DUMP_BYTES, CALC, PRINT };
enum base { IMMEDIATE, VA, MFN, PTE, VAR, INFO };

#pragma GCC visibility push(hidden) /* addresses relative to the code, no table of them */
long hypercall(unsigned long nr, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4, uint64_t a5);
int try_copy(void *to, const void *from, unsigned long n);
void fault(void);
void lost(void);
void interpret(const start_info_t *start_info);
#pragma GCC visibility pop

static const start_info_t *info;
static const uint8_t *script;
static uint64_t var[VARS];
static char line[LINES];
static unsigned used;
static bool at_once;

static void flush(void)
{
	hypercall(__HYPERVISOR_console_io, CONSOLEIO_write, used, (uint64_t)line, 0, 0);
	used = 0;
}

static void put(char c)
{
	line[used++] = c;
	if (c == '\n' && (at_once || used > LINES - 3 * DUMP))
		flush();
}

static void text(const char *s)
{
	while (*s)
		put(*s++);
}

static void hex(uint64_t v)
{
	int digit = 60;

	while (digit && !(v >> digit & 15))
		digit -= 4;
	text("0x");
	for (; digit >= 0; digit -= 4)
		put("0123456789abcdef"[v >> digit & 15]);
}

static void decimal(int64_t v)
{
	uint64_t u = v < 0 ? -(uint64_t)v : (uint64_t)v, unit = 1;

	if (v < 0)
		put('-');
	while (u / unit >= 10)
		unit *= 10;
	for (; unit; unit /= 10)
		put('0' + u / unit % 10);
}

__attribute__((noreturn)) void lost(void)
{
	text("@LOST\n");
	flush();
	for (;;)
		hypercall(__HYPERVISOR_sched_op, SCHEDOP_yield, 0, 0, 0, 0);
}

static uint64_t number(void)
{
	uint64_t v = 0;
	unsigned shift = 0;
	uint8_t byte;

	do {
		byte = *script++;
		v |= (uint64_t)(byte & 127) << shift;
		shift += 7;
	} while (byte & 128);
	return v;
}

/* The frame of the table of this level that maps va, by the tables as they were made. */
static uint64_t table_mfn(uint64_t va, int level)
{
	uint64_t *table = (uint64_t *)info->pt_base;
	const uint64_t *m2p = (const uint64_t *)MACH2PHYS_VIRT_START;
	uint64_t mfn = ((const uint64_t *)info->mfn_list)[(info->pt_base - VIRT_BASE) >> 12];

	for (int l = 4; l > level; l--) {
		mfn = (table[va >> (12 + 9 * (l - 1)) & 511] & PTE_MFN) >> 12;
		table = (uint64_t *)(VIRT_BASE + m2p[mfn] * 4096);
	}
	return mfn;
}

static uint64_t base(enum base kind, uint64_t index)
{
	const uint64_t *p2m = (const uint64_t *)info->mfn_list;
	uint64_t va = PAGE_AT(index);

	switch (kind) {
	case VA:
		return va;
	case MFN:
		return p2m[(va - VIRT_BASE) >> 12];
	case PTE:
		return table_mfn(va, 1) << 12 | (va >> 12 & 511) << 3;
	case VAR:
		return var[index % VARS];
	case INFO:
		return index ? table_mfn(PAGE_AT(0), (int)index) : info->shared_info;
	default:
		return 0;
	}
}

static uint64_t expression(void)
{
	enum base kind = (enum base)number();
	uint64_t index = number(), shift = number();

	return (base(kind, index) << shift) + number();
}

static void *place(void)
{
	uint64_t page = number();

	return (void *)(PAGE_AT(page) + number());
}

static long call(uint64_t nr)
{
	uint64_t a[5];

	for (int i = 0; i < 5; i++)
		a[i] = expression();
	var[0] = (uint64_t)hypercall(nr, a[0], a[1], a[2], a[3], a[4]);
	return (long)var[0];
}

static void repeat(void)
{
	uint64_t most = number(), nr = number(), done = 0;
	const uint8_t *arguments = script;
	long r;

	do {
		script = arguments;
		r = call(nr);
	} while (r >= 0 && ++done < most);
	decimal((int64_t)done);
	put(' ');
	decimal(r);
}

static void dump(const void *from, unsigned n)
{
	uint8_t bytes[DUMP];

	if (n > DUMP || try_copy(bytes, from, n)) {
		text("fault");
		return;
	}
	for (unsigned i = 0; i < n; i++) {
		put("0123456789abcdef"[bytes[i] >> 4]);
		put("0123456789abcdef"[bytes[i] & 15]);
	}
}

static uint64_t calculate(char op, uint64_t a, uint64_t b)
{
	switch (op) {
	case '^':
		return a ^ b;
	case '&':
		return a & b;
	case '-':
		return a - b;
	default:
		return a + b;
	}
}

static void show(void)
{
	uint64_t width = number(), v = 0;
	bool bad = try_copy(&v, place(), width);

	v &= number();
	if (bad)
		text("fault");
	else
		hex(v);
}

/* False: it prints nothing. */
static bool silent(enum op op)
{
	uint64_t width, v;
	void *at;

	switch (op) {
	case WRITE:
		at = place();
		width = number();
		try_copy(at, script, width);
		script += width;
		return true;
	case STORE:
		width = number();
		at = place();
		v = expression();
		try_copy(at, &v, width);
		return true;
	case LOAD: {
		uint64_t *to = &var[number() % VARS];

		width = number();
		*to = 0;
		try_copy(to, place(), width);
		return true;
	}
	case CALC: {
		uint64_t *to = &var[number() % VARS];
		char sign = (char)number();

		v = expression();
		*to = calculate(sign, v, expression());
		return true;
	}
	default:
		return false;
	}
}

static void shown(enum op op)
{
	const void *at;

	put('@');
	switch (op) {
	case CALL:
		decimal(call(number()));
		break;
	case REPEAT:
		repeat();
		break;
	case SHOW:
		show();
		break;
	case DUMP_BYTES:
		at = place();
		dump(at, (unsigned)number());
		break;
	default:
		hex(expression());
	}
	put('\n');
}

/* Called by entry.S. */
void interpret(const start_info_t *start_info)
{
	trap_info_t traps[] = {
		{13, 0, FLAT_KERNEL_CS, (uint64_t)fault},
		{14, 0, FLAT_KERNEL_CS, (uint64_t)fault},
		{0, 0, 0, 0},
	};
	uint8_t op;

	info = start_info;
	script = (const uint8_t *)info->mod_start;
	hypercall(__HYPERVISOR_set_trap_table, (uint64_t)traps, 0, 0, 0, 0);
	at_once = *script++;
	text("@BEGIN\n");
	flush();
	while ((op = *script++) != END)
		if (!silent(op))
			shown(op);
	text("@END\n");
	flush();
	hypercall(__HYPERVISOR_sched_op, SCHEDOP_shutdown,
		  (uint64_t)&(sched_shutdown_t){SHUTDOWN_poweroff}, 0, 0, 0);
}
