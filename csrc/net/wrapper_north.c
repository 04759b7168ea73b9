/* The plain wrapper's north half: each operation as the handler of its kind. */
#include "net/wrapper.h"

int wr_plain_north(struct wr *w)
{
	(void)w;
	return 0;
}
