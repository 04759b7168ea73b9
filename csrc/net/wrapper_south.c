/* The plain wrapper's south half: each operation as the handler of its kind. */
#include <errno.h>

#include "net/wrapper.h"

#define HANDLER(operation)                                                           \
	static enum wr_verdict plain_##operation(struct wr_packet *p, void *context) \
	{                                                                            \
		(void)context;                                                       \
		return operation(p);                                                 \
	}

HANDLER(cs_rec_syn)
HANDLER(cs_rec_ack)
HANDLER(cs_rec_fin)
HANDLER(cs_rec_rst)
HANDLER(cs_snd_saa)
HANDLER(cs_snd_ack)
HANDLER(cs_snd_fin)
HANDLER(cs_snd_rst)
HANDLER(ss_rec_saa)
HANDLER(ss_rec_ack)
HANDLER(ss_rec_fin)
HANDLER(ss_rec_rst)
HANDLER(ss_snd_syn)
HANDLER(ss_snd_ack)
HANDLER(ss_snd_fin)
HANDLER(ss_snd_rst)

static wr_ssw_handler *const plain[2][WR_PACKET_KINDS] = {
	[WR_CLIENT_SIDE] =
		{
			[WR_REC_SYN] = plain_cs_rec_syn,
			[WR_REC_ACK] = plain_cs_rec_ack,
			[WR_REC_FIN] = plain_cs_rec_fin,
			[WR_REC_RST] = plain_cs_rec_rst,
			[WR_SND_SAA] = plain_cs_snd_saa,
			[WR_SND_ACK] = plain_cs_snd_ack,
			[WR_SND_FIN] = plain_cs_snd_fin,
			[WR_SND_RST] = plain_cs_snd_rst,
		},
	[WR_SERVER_SIDE] =
		{
			[WR_REC_SAA] = plain_ss_rec_saa,
			[WR_REC_ACK] = plain_ss_rec_ack,
			[WR_REC_FIN] = plain_ss_rec_fin,
			[WR_REC_RST] = plain_ss_rec_rst,
			[WR_SND_SYN] = plain_ss_snd_syn,
			[WR_SND_ACK] = plain_ss_snd_ack,
			[WR_SND_FIN] = plain_ss_snd_fin,
			[WR_SND_RST] = plain_ss_snd_rst,
		},
};

int wr_plain_south(struct wr *w)
{
	for (unsigned side = 0; side < 2; side++) {
		for (unsigned kind = 0; kind < WR_PACKET_KINDS; kind++) {
			int rc = plain[side][kind]
					 ? wr_ins_ssw(w, side, kind, plain[side][kind], NULL)
					 : 0;

			if (rc && rc != -EEXIST)
				return rc;
		}
	}
	return 0;
}
