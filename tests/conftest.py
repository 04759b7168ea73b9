"""Settings of the whole test run."""

import signal

from hypothesis import HealthCheck, settings

# No deadlines: nothing timed decides a test. The same examples are drawn each time; `long` draws
# others, over 100,000 steps of each state machine: pytest --hypothesis-profile=long tests/models
settings.register_profile("default", deadline=None, derandomize=True)
settings.register_profile(
    "long",
    deadline=None,
    max_examples=1500,
    stateful_step_count=100,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("default")

# Where SIGINT is ignored (a shell's background job), children would ignore it too.
signal.signal(signal.SIGINT, signal.default_int_handler)
