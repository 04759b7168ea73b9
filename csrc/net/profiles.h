/* The built-in profiles: each installs its handlers into a wrapper that has none yet. 0, or -errno. */
#ifndef XE_NET_PROFILES_H
#define XE_NET_PROFILES_H

#include "net/ftapi.h"

int xe_profile_http(struct wr *w);
int xe_profile_ftp(struct wr *w);
int xe_profile_proxy(struct wr *w);

#endif
