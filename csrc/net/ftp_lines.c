/* See ftp_lines.h. Pure; owns nothing. */
#include "net/ftp_lines.h"

#include <string.h>

enum { CR = '\r', LF = '\n', IAC = 0xff, IP = 0xf4, DM = 0xf2 };

enum xe_ftp_event xe_ftp_take_line(struct xe_ftp_line *l, const uint8_t *bytes, size_t n,
				   size_t *taken)
{
	*taken = n;
	for (size_t i = 0; i < n; i++) {
		bool after_cr = l->cr;

		if (bytes[i] == LF) {
			*taken = i + 1;
			return after_cr ? XE_FTP_END : XE_FTP_NOT;
		}
		if (after_cr)
			return XE_FTP_NOT;
		l->cr = bytes[i] == CR;
		l->iac |= bytes[i] == IAC;
		if (l->length < XE_FTP_PREFIX && !l->cr)
			l->prefix[l->length] = bytes[i];
		if (l->length < XE_FTP_COMMAND)
			l->length++;
	}
	return XE_FTP_MORE;
}

/* ---- replies ---- */

/* The code that a line begins with, 0: none; and what follows. */
static uint16_t code_of(const struct xe_ftp_line *l, uint8_t *separator)
{
	const uint8_t *p = l->prefix;

	for (int i = 0; i < 3; i++) {
		if (p[i] < '0' || p[i] > '9')
			return 0;
	}
	*separator = p[3];
	return p[0] < '1' || p[0] > '5'
		       ? 0
		       : (uint16_t)((p[0] - '0') * 100 + (p[1] - '0') * 10 + (p[2] - '0'));
}

/* Of a line that has come: whether it is the last one of its reply. */
static enum xe_ftp_event end_of_line(struct xe_ftp_reply *r)
{
	uint8_t separator = 0;
	uint16_t code = code_of(&r->line, &separator);

	memset(&r->line, 0, sizeof(r->line));
	if (r->open) {
		if (code != r->open || separator == '-')
			return XE_FTP_MORE;
	} else if (code > 0 && separator == '-') {
		r->open = code;
		return XE_FTP_MORE;
	}
	if (code == 0 || separator != ' ')
		return XE_FTP_NOT;
	r->open = 0;
	r->code = code;
	return XE_FTP_END;
}

enum xe_ftp_event xe_ftp_take_reply(struct xe_ftp_reply *r, const uint8_t *bytes, size_t n,
				    size_t *taken)
{
	enum xe_ftp_event event = XE_FTP_MORE;
	size_t at = 0;

	while (event == XE_FTP_MORE && at < n) {
		size_t line;

		event = xe_ftp_take_line(&r->line, bytes + at, n - at, &line);
		at += line;
		if (event == XE_FTP_END)
			event = end_of_line(r);
	}
	*taken = at;
	return event;
}

/* ---- commands ---- */

static const struct {
	char name[5];
	uint8_t verb;
} verbs[] = {
	{"NOOP", XE_FTP_PASSING},   {"PWD", XE_FTP_PASSING},    {"XPWD", XE_FTP_PASSING},
	{"SIZE", XE_FTP_PASSING},   {"MDTM", XE_FTP_PASSING},   {"SYST", XE_FTP_PASSING},
	{"FEAT", XE_FTP_PASSING},   {"STAT", XE_FTP_PASSING},   {"HELP", XE_FTP_PASSING},
	{"MLST", XE_FTP_PASSING},   {"MFMT", XE_FTP_PASSING},   {"DELE", XE_FTP_PASSING},
	{"MKD", XE_FTP_PASSING},    {"XMKD", XE_FTP_PASSING},   {"RMD", XE_FTP_PASSING},
	{"XRMD", XE_FTP_PASSING},   {"CWD", XE_FTP_DIRECTORY},  {"XCWD", XE_FTP_DIRECTORY},
	{"CDUP", XE_FTP_DIRECTORY}, {"XCUP", XE_FTP_DIRECTORY}, {"USER", XE_FTP_LOGIN},
	{"PASS", XE_FTP_LOGIN},     {"ACCT", XE_FTP_LOGIN},     {"REIN", XE_FTP_LOGIN},
	{"HOST", XE_FTP_LOGIN},     {"AUTH", XE_FTP_FOREIGN},   {"ADAT", XE_FTP_FOREIGN},
	{"LPSV", XE_FTP_FOREIGN},   {"LPRT", XE_FTP_FOREIGN},   {"SPSV", XE_FTP_FOREIGN},
	{"TYPE", XE_FTP_TYPE},      {"MODE", XE_FTP_MODE},      {"STRU", XE_FTP_MODE},
	{"PASV", XE_FTP_PASV},      {"EPSV", XE_FTP_EPSV},      {"PORT", XE_FTP_PORT},
	{"EPRT", XE_FTP_PORT},      {"REST", XE_FTP_REST},      {"ALLO", XE_FTP_ALLO},
	{"RETR", XE_FTP_DATA},      {"STOR", XE_FTP_DATA},      {"APPE", XE_FTP_DATA},
	{"STOU", XE_FTP_DATA},      {"LIST", XE_FTP_DATA},      {"NLST", XE_FTP_DATA},
	{"MLSD", XE_FTP_DATA},      {"RNFR", XE_FTP_RNFR},      {"RNTO", XE_FTP_RNTO},
	{"ABOR", XE_FTP_ABOR},
};

static const struct {
	char line[9];
	uint8_t argument;
} arguments[] = {
	{"TYPE A", XE_FTP_ASCII},   {"TYPE A N", XE_FTP_ASCII}, {"TYPE I", XE_FTP_IMAGE},
	{"MODE S", XE_FTP_DEFAULT}, {"STRU F", XE_FTP_DEFAULT},
};

static uint8_t upper(uint8_t b)
{
	return b >= 'a' && b <= 'z' ? (uint8_t)(b - 'a' + 'A') : b;
}

/* Telnet's IP and DM may come before a command (RFC 959, 4.1.3): how many bytes of them. */
static size_t telnet(const uint8_t *p, size_t n)
{
	size_t at = 0;

	while (at + 1 < n && p[at] == IAC && (p[at + 1] == IP || p[at + 1] == DM))
		at += 2;
	return at;
}

enum xe_ftp_event xe_ftp_command(const struct xe_ftp_line *l, enum xe_ftp_verb *verb,
				 enum xe_ftp_argument *argument)
{
	size_t n = l->length < XE_FTP_PREFIX ? l->length : XE_FTP_PREFIX;
	size_t skip = telnet(l->prefix, n), word = 0;
	char text[XE_FTP_PREFIX + 1] = "";

	for (size_t i = skip; i < n; i++)
		text[i - skip] = (char)upper(l->prefix[i]);
	if (text[0] == '\0' || text[0] == ' ' || l->length >= XE_FTP_COMMAND ||
	    (l->iac && (skip == 0 || memchr(text, IAC, n - skip) || n < l->length)))
		return XE_FTP_NOT;
	while (text[word] != '\0' && text[word] != ' ')
		word++;
	*verb = XE_FTP_UNKNOWN;
	*argument = XE_FTP_ODD;
	for (size_t i = 0; i < sizeof(verbs) / sizeof(*verbs); i++) {
		if (strlen(verbs[i].name) == word && memcmp(verbs[i].name, text, word) == 0)
			*verb = verbs[i].verb;
	}
	for (size_t i = 0; i < sizeof(arguments) / sizeof(*arguments); i++) {
		if (strcmp(arguments[i].line, text) == 0)
			*argument = arguments[i].argument;
	}
	return XE_FTP_END;
}
