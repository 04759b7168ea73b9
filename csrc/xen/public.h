/* Argument structs of Xen's hypercalls, laid out as in Xen's public headers (x86-64): one file for
 * each of Xen's. Numbers that only one file needs stay in that file. */
#ifndef XE_XEN_PUBLIC_H
#define XE_XEN_PUBLIC_H

#include "xen/abi/callback.h"
#include "xen/abi/domctl.h"
#include "xen/abi/event_channel.h"
#include "xen/abi/memory.h"
#include "xen/abi/mmu.h"
#include "xen/abi/multicall.h"
#include "xen/abi/sched.h"
#include "xen/abi/shared_info.h"
#include "xen/abi/start_info.h"
#include "xen/abi/vcpu.h"

#endif
