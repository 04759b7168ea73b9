"""Settings of the whole test run."""

import os
import signal

from hypothesis import settings

# No deadlines: nothing timed decides a test. CI draws the same examples each time.
settings.register_profile("xenemu", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("xenemu")

# Where SIGINT is ignored (a shell's background job), children would ignore it too.
signal.signal(signal.SIGINT, signal.default_int_handler)
