/* The lines of an FTP control connection (RFC 959, 4 and 5.3; RFC 2389, 3659).
 *
 * Strict: lines end with CR LF and commands are shorter than XE_FTP_COMMAND; what servers and clients
 * may see in different ways is XE_FTP_NOT. No byte is kept but the first ones of a line.
 */
#ifndef XE_NET_FTP_LINES_H
#define XE_NET_FTP_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { XE_FTP_PREFIX = 24, XE_FTP_COMMAND = 1024 };

enum xe_ftp_event {
	XE_FTP_MORE, /* all bytes are taken */
	XE_FTP_END,  /* the last byte taken ends the line, or the reply */
	XE_FTP_NOT,
};

/* Zeroed before each line. */
struct xe_ftp_line {
	uint8_t prefix[XE_FTP_PREFIX]; /* its beginning, zeros after its end */
	uint16_t length;               /* so far, CR included; at most XE_FTP_COMMAND */
	bool cr;                       /* the last byte was one */
	bool iac;                      /* Telnet's escape is in it */
};

/* Commands, by what they leave behind in a session. */
enum xe_ftp_verb {
	XE_FTP_UNKNOWN,
	XE_FTP_PASSING,   /* nothing: it asks something, or does something to files */
	XE_FTP_DIRECTORY, /* another directory */
	XE_FTP_LOGIN,     /* may reset everything */
	XE_FTP_FOREIGN,   /* if it works, what follows is not understood here */
	XE_FTP_TYPE,
	XE_FTP_MODE,      /* also STRU */
	XE_FTP_PASV,      /* up to ALLO: for the next transfer */
	XE_FTP_EPSV,
	XE_FTP_PORT,      /* also EPRT */
	XE_FTP_REST,
	XE_FTP_ALLO,
	XE_FTP_DATA,      /* has a data connection */
	XE_FTP_RNFR,
	XE_FTP_RNTO,
	XE_FTP_ABOR,
	XE_FTP_VERBS,
};

/* Of TYPE, MODE and STRU. */
enum xe_ftp_argument { XE_FTP_ODD, XE_FTP_ASCII, XE_FTP_IMAGE, XE_FTP_DEFAULT };

struct xe_ftp_reply {
	struct xe_ftp_line line;
	uint16_t open;           /* code of the reply that has begun with "ddd-"; 0: none */
	uint16_t code;           /* at XE_FTP_END */
};

/* Takes bytes up to the next event. */
enum xe_ftp_event xe_ftp_take_line(struct xe_ftp_line *l, const uint8_t *bytes, size_t n,
				   size_t *taken);
enum xe_ftp_event xe_ftp_take_reply(struct xe_ftp_reply *r, const uint8_t *bytes, size_t n,
				    size_t *taken);
/* What a line commands. XE_FTP_NOT: nothing that all servers would take for the same. */
enum xe_ftp_event xe_ftp_command(const struct xe_ftp_line *l, enum xe_ftp_verb *verb,
				 enum xe_ftp_argument *argument);

#endif
