"""The C core's binding. Only xenemu.machine imports it."""
