# cython: language_level=3, boundscheck=False, wraparound=False, binding=False
"""What a call from Python into Cython costs: Machine.hypercall's arguments, no work."""

from libc.stdint cimport int64_t, uint32_t, uint64_t


cdef class Noop:
    cdef int64_t _result

    def __cinit__(self, int64_t result):
        self._result = result

    def hypercall(self, uint32_t domid, uint32_t nr, uint64_t a1=0, uint64_t a2=0, uint64_t a3=0,
                  uint64_t a4=0, uint64_t a5=0):
        return self._result
