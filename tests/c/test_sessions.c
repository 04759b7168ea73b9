/* Sessions that die at every packet and at every store into the log, or are tried; see session_sim.h. */
#include <sys/wait.h>
#include <unistd.h>

#include "session_sim.h"

#define ALL "NGPUGNPUGN"

static void test_no_fault(void)
{
	struct plan plan = {.script = ALL};
	struct sim *s = run(&plan);

	xe_assert(s->commands == 10 && s->back_requests == 3 && s->faults == 0);
	close_sim(s);
}

static void faults_everywhere(struct plan plan)
{
	uint64_t end;

	plan.script = ALL;
	close_sim(run(&plan));
	end = 260;
	for (plan.event = 2; plan.event < end; plan.event++)
		close_sim(run(&plan));
}

static void test_a_fault_at_each_packet(void)
{
	faults_everywhere((struct plan){.trim = 0});
}

static void test_faults_again_and_again(void)
{
	for (uint64_t again = 7; again < 60; again += 11)
		faults_everywhere((struct plan){.again = again});
}

static void test_in_the_same_stack(void)
{
	faults_everywhere((struct plan){.same_stack = true, .again = 70});
}

static void test_refused(void)
{
	struct plan plan = {.script = "NGNG", .refuses = true};

	for (plan.event = 2; plan.event < 60; plan.event++)
		close_sim(run(&plan));
}

static void test_trimmed(void)
{
	for (uint32_t trim = 1; trim <= 2; trim++) {
		faults_everywhere((struct plan){.trim = trim});
		faults_everywhere((struct plan){.trim = trim, .again = 23});
		faults_everywhere((struct plan){.trim = trim, .same_stack = true});
	}
}

static void test_a_fault_after_each_store(void)
{
	for (uint32_t trim = 0; trim <= 2; trim++) {
		struct plan plan = {.script = ALL ALL, .trim = trim};
		struct sim *s = run(&plan);
		uint64_t stores = s->stop.stores;

		close_sim(s);
		for (plan.store = 1; plan.store <= stores; plan.store++) {
			s = run(&plan);
			xe_assert(s->faults == 1);
			close_sim(s);
		}
	}
}

static void test_trials(void)
{
	uint32_t accepted = 0, rolled_back = 0;

	for (uint64_t patience = 1; patience < 60; patience += 20) {
		struct plan plan = {
			.script = ALL, .trial = true, .again = 90, .patience = patience};

		for (plan.trim = 0; plan.trim <= 2; plan.trim++) {
			for (plan.event = 4; plan.event < 200; plan.event += 3) {
				struct sim *s = run(&plan);

				accepted += s->accepted;
				rolled_back += s->rolled_back;
				close_sim(s);
			}
		}
	}
	xe_assert(accepted > 0 && rolled_back > 0);
	printf("trials: %u accepted, %u rolled back\n", accepted, rolled_back);
}

static uint32_t blocks_in_use(const struct sim *s)
{
	return s->server.nsw.log.record_blocks - s->server.nsw.free_count;
}

/* What is finished is not done again, and the log does not grow. */
static void test_long_session(void)
{
	static char script[3001];
	struct plan plan = {.script = script, .trim = 1};
	struct sim *s;
	uint32_t most;

	for (int i = 0; i < 3000; i += 3)
		memcpy(script + i, "NPU", 3);
	s = run(&plan);
	most = 2 * s->server.nsw.log.slots; /* chains of the dead are taken when their slots are */
	xe_assert(s->commands == 3000 && blocks_in_use(s) < most);
	xe_assert(s->server.nsw.compactions >= 1900 / XE_LOG_REMOVALS);
	plan.event = s->over_at * 9 / 10;
	close_sim(s);
	s = run(&plan);
	printf("long session: %llu commands, %u blocks\n", (unsigned long long)s->commands,
	       blocks_in_use(s));
	xe_assert(s->faults == 1 && s->commands <= 3000 + 3 * (XE_LOG_REMOVALS + 1));
	xe_assert(blocks_in_use(s) < most);
	close_sim(s);
}

/* In a process of its own: whether the client, or the back end, saw something wrong. */
static bool fails(const struct plan *plan)
{
	int status;
	pid_t pid = fork();

	xe_assert(pid >= 0);
	if (pid == 0) {
		xe_assert(freopen("/dev/null", "w", stderr) && freopen("/dev/null", "w", stdout));
		alarm(20);
		run(plan);
		_exit(0);
	}
	xe_assert(waitpid(pid, &status, 0) == pid);
	return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}

/* Without any one of the plain wrapper's handlers of calls, some fault is not survived. */
static void test_each_is_needed(void)
{
	const struct plan all = {.script = ALL, .event = 10};

	xe_assert(!fails(&all));
	for (int handler = 0; handler < 2 * WR_CALL_KINDS; handler++) {
		struct plan plan = {.script = ALL, .without = 1 + handler};
		bool failed = false;

		for (plan.event = 10; plan.event < 200 && !failed; plan.event += 3)
			failed = fails(&plan);
		if (!failed)
			printf("handler %d is not needed\n", handler);
		xe_assert(failed);
	}
}

static const struct test {
	const char *name;
	void (*run)(void);
} tests[] = {
	{"no_fault", test_no_fault},
	{"a_fault_at_each_packet", test_a_fault_at_each_packet},
	{"faults_again_and_again", test_faults_again_and_again},
	{"in_the_same_stack", test_in_the_same_stack},
	{"refused", test_refused},
	{"trimmed", test_trimmed},
	{"a_fault_after_each_store", test_a_fault_after_each_store},
	{"trials", test_trials},
	{"long_session", test_long_session},
	{"each_is_needed", test_each_is_needed},
};

int main(int argc, char **argv)
{
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		if (argc > 1 && strcmp(argv[1], tests[i].name) != 0)
			continue;
		puts(tests[i].name);
		fflush(stdout);
		tests[i].run();
	}
	return 0;
}
