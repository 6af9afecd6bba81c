/* Thousands of peers of a registry in one process, to load it; it is not what is measured.
 *
 *     load CLIENTS
 *
 * Build: cc -O2 -o load load.c -lssl -lcrypto
 *
 * CLIENTS is a file that registry.py makes: for each client its 32-byte Ed25519 seed, its 32-byte
 * PeerID, its certificate (DER) and the body of its HELLO, the last two behind a length of 2 bytes,
 * big-endian.  HELLO ends with since, fid and token, all nil.  Commands come as lines, and each is
 * answered with a line of JSON:
 *
 *     login PORT COUNT WINDOW   connect the first COUNT clients, WINDOW at a time, those that know a
 *                               cursor with it; until everyone knows everyone
 *     join PORT CLIENT          one more; until all the others were told
 *     leave CLIENT              it says goodbye; until all the others were told
 *     lost                      until the registry has closed every connection
 *     rest SECONDS              answer its pings
 *     stay QUIET                the same until another command comes; who says nothing for QUIET seconds
 *                               pings from then on, before for 20
 *
 * Client n comes from a loopback address of its own, 127.64.0.0 + n: limits by source are no matter.
 * TLS 1.3 with a certificate on either side; that of the registry is not looked at.  Every page of
 * the list is read whole: who knows whom is kept exactly.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { ID = 32, PIECE = 1 << 18, EVENTS = 64, PROBES = 1 << 16 };
static const uint8_t ping[] = "\x92\xa4ping\x01";
static const double PROBE_EVERY = 0.02, PATIENCE = 900;

struct client {
	uint8_t id[ID], cursor[64];
	EVP_PKEY *key;
	X509 *certificate;
	uint8_t *hello;
	int hello_size, cursor_size;
	int line, shaken, welcome, told, complete; /* complete: the last page that came said so */
	SSL *tls;
	uint8_t *held; /* the beginning of a frame */
	int held_size;
	uint8_t *knows; /* a bit for each client */
	int known;
	double told_at, said_at;
};

static struct client *clients;
static int count, poll_line, target, online, welcomed, informed, failed, lost, watched = -1, watch_left, told;
static int *table, table_size; /* PeerID -> number, open addressing */
static SSL_CTX *context;
static unsigned long long bytes_in;
static double quiet = 20, hello_at, probe_at, probe_sent, probes[PROBES];
static int probe_count;
static int prober; /* whose answer is awaited */
static uint8_t piece[PIECE];

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static double cpu(void)
{
	struct timespec t;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void give_up(const char *what)
{
	perror(what);
	ERR_print_errors_fp(stderr);
	exit(1);
}

/* --- clients ------------------------------------------------------------------------------- */

static int slot_of(const uint8_t *id)
{
	uint32_t at;
	memcpy(&at, id, sizeof at);
	at &= table_size - 1;
	while (table[at] >= 0 && memcmp(clients[table[at]].id, id, ID))
		at = (at + 1) & (table_size - 1);
	return at;
}

static int take_size(FILE *file)
{
	int high = getc(file), low = getc(file);
	return high << 8 | low;
}

static void load_clients(const char *path)
{
	FILE *file = fopen(path, "rb");
	uint8_t seed[ID], der[4096];
	if (!file)
		give_up(path);
	for (int room = 0; fread(seed, 1, ID, file) == ID; count++) {
		if (count == room)
			clients = realloc(clients, (room = room * 2 + 64) * sizeof *clients);
		struct client *c = memset(&clients[count], 0, sizeof *c);
		const uint8_t *from = der;
		int size;
		c->line = -1;
		c->key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, ID);
		if (fread(c->id, 1, ID, file) != ID || (size = take_size(file)) > (int)sizeof der ||
		    fread(der, 1, size, file) != (size_t)size || !(c->certificate = d2i_X509(NULL, &from, size)))
			give_up("certificate");
		c->hello_size = take_size(file);
		c->hello = malloc(c->hello_size);
		if (fread(c->hello, 1, c->hello_size, file) != (size_t)c->hello_size)
			give_up("hello");
	}
	fclose(file);
	for (table_size = 64; table_size < 4 * count; table_size *= 2)
		;
	table = malloc(table_size * sizeof *table);
	memset(table, 0xff, table_size * sizeof *table);
	for (int i = 0; i < count; i++) {
		table[slot_of(clients[i].id)] = i;
		clients[i].knows = calloc(count / 8 + 1, 1);
	}
}

static void learn(struct client *c, const uint8_t *id, int present)
{
	int other = table[slot_of(id)];
	if (other < 0)
		return;
	int bit = 1 << (other & 7), had = !!(c->knows[other >> 3] & bit);
	if (had != present) {
		c->knows[other >> 3] ^= bit;
		c->known += present ? 1 : -1;
	}
	if (other == watched && !c->told && present != watch_left) {
		c->told = 1;
		c->told_at = now();
		told++;
	}
}

/* --- messages ------------------------------------------------------------------------------ */

/* Behind one MessagePack value. */
static const uint8_t *skip(const uint8_t *p)
{
	static const uint8_t sizes[32] = { [0x0c] = 1, [0x0d] = 2, [0x0e] = 4, [0x0f] = 8,
					   [0x10] = 1, [0x11] = 2, [0x12] = 4, [0x13] = 8 };
	uint8_t kind = *p++;
	int elements = 0;
	if (kind < 0x80 || kind >= 0xe0)
		return p;
	if (kind >= 0xa0 && kind < 0xc0)
		return p + (kind & 31);
	if (kind >= 0x90 && kind < 0xa0)
		elements = kind & 15;
	else if (kind == 0xc4 || kind == 0xd9)
		return p + 1 + p[0];
	else if (kind == 0xc5 || kind == 0xda)
		return p + 2 + (p[0] << 8 | p[1]);
	else if (kind == 0xdc) {
		elements = p[0] << 8 | p[1];
		p += 2;
	} else
		return p + sizes[kind & 31];
	while (elements--)
		p = skip(p);
	return p;
}

/* How many elements the array at *p has; *p goes to the first. */
static int array(const uint8_t **p)
{
	if (**p == 0xdc) {
		*p += 3;
		return (*p)[-2] << 8 | (*p)[-1];
	}
	return *(*p)++ & 15;
}

static void send_frame(struct client *c, const uint8_t *body, int size)
{
	uint8_t frame[4096] = { size >> 24, size >> 16, size >> 8, size };
	memcpy(frame + 4, body, size);
	c->said_at = now();
	if (SSL_write(c->tls, frame, size + 4) != size + 4)
		failed++;
}

static void say_hello(struct client *c)
{
	uint8_t hello[4096];
	int size = c->hello_size;
	memcpy(hello, c->hello, size);
	if (c->cursor_size) {
		hello[size - 3] = 0xc4;
		hello[size - 2] = c->cursor_size;
		memcpy(hello + size - 1, c->cursor, c->cursor_size);
		size += c->cursor_size - 1;
		hello[size++] = 0xc0;
		hello[size++] = 0xc0;
	}
	hello_at = now();
	send_frame(c, hello, size);
}

static void take_page(struct client *c, const uint8_t *p)
{
	int reset = p[0] == 0xc3, more = p[1] == 0xc3;
	p += 2;
	if (reset) {
		memset(c->knows, 0, count / 8 + 1);
		c->known = 0;
	}
	for (int n = array(&p); n--; p = skip(p))
		learn(c, p + 3, 1); /* behind the heads of the entry and of its PeerID */
	for (int n = array(&p); n--; p = skip(p))
		learn(c, p + 2, 0);
	c->cursor_size = p[1];
	memcpy(c->cursor, p + 2, p[1]);
	c->complete = !more;
}

static void take_frame(struct client *c, const uint8_t *body, int size)
{
	int is_informed = c->complete && c->known >= target;
	if (!memcmp(body + 1, "\xa4list", 5))
		take_page(c, body + 6);
	else if (!memcmp(body + 1, "\xa7welcome", 8)) {
		c->welcome = 1;
		welcomed++;
	} else if (!memcmp(body + 1, "\xa4ping", 5)) {
		uint8_t pong[32];
		memcpy(pong, body, size);
		pong[3] = 'o';
		send_frame(c, pong, size);
	} else if (!memcmp(body + 1, "\xa4pong", 5) && c == clients + prober && probe_sent) {
		if (probe_count < PROBES)
			probes[probe_count++] = now() - probe_sent;
		probe_sent = 0;
	} else if (!memcmp(body + 1, "\xa5" "error", 6))
		fprintf(stderr, "client %d: %.*s\n", (int)(c - clients), size - 7, body + 7);
	informed += (c->complete && c->known >= target) - is_informed;
}

static void take_bytes(struct client *c, const uint8_t *data, int size)
{
	bytes_in += size;
	if (c->held_size) {
		c->held = realloc(c->held, c->held_size + size);
		memcpy(c->held + c->held_size, data, size);
		data = c->held;
		size += c->held_size;
	}
	const uint8_t *at = data, *end = data + size;
	while (end - at >= 4) {
		int length = at[0] << 24 | at[1] << 16 | at[2] << 8 | at[3];
		if (end - at - 4 < length)
			break;
		take_frame(c, at + 4, length);
		at += 4 + length;
	}
	size = end - at;
	if (at == data && data == c->held) {
		c->held_size = size;
		return;
	}
	uint8_t *rest = size ? memcpy(malloc(size), at, size) : NULL;
	free(c->held);
	c->held = rest;
	c->held_size = size;
}

/* --- lines --------------------------------------------------------------------------------- */

static void connect_to(struct client *c, int port)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port),
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr_in source = { .sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(127u << 24 | 64 << 16 | (unsigned)(c - clients)) };
	int yes = 1;
	c->line = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (c->line < 0)
		give_up("socket");
	setsockopt(c->line, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
	setsockopt(c->line, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof yes);
	if (bind(c->line, (struct sockaddr *)&source, sizeof source))
		give_up("bind");
	if (connect(c->line, (struct sockaddr *)&address, sizeof address) && errno != EINPROGRESS)
		give_up("connect");
	c->shaken = c->welcome = c->complete = 0;
	c->tls = SSL_new(context);
	SSL_use_certificate(c->tls, c->certificate);
	SSL_use_PrivateKey(c->tls, c->key);
	SSL_set_fd(c->tls, c->line);
	SSL_set_connect_state(c->tls);
	struct epoll_event event = { .events = EPOLLIN | EPOLLOUT, .data.ptr = c };
	epoll_ctl(poll_line, EPOLL_CTL_ADD, c->line, &event);
	online++;
}

static void drop(struct client *c)
{
	if (c->line < 0)
		return;
	if (c == clients + prober)
		probe_sent = 0;
	welcomed -= c->welcome;
	informed -= c->complete && c->known >= target;
	c->welcome = c->complete = c->held_size = 0;
	free(c->held);
	c->held = NULL;
	SSL_free(c->tls);
	close(c->line);
	c->line = -1;
	online--;
}

static void happen(struct client *c, unsigned events)
{
	if (c->line < 0)
		return;
	ERR_clear_error();
	if (!c->shaken) {
		int result = SSL_do_handshake(c->tls);
		if (result != 1) {
			int want = SSL_get_error(c->tls, result);
			if (want != SSL_ERROR_WANT_READ && want != SSL_ERROR_WANT_WRITE) {
				failed++;
				drop(c);
				return;
			}
			struct epoll_event event = { .data.ptr = c };
			event.events = want == SSL_ERROR_WANT_WRITE ? EPOLLIN | EPOLLOUT : EPOLLIN;
			epoll_ctl(poll_line, EPOLL_CTL_MOD, c->line, &event);
			return;
		}
		struct epoll_event event = { .events = EPOLLIN, .data.ptr = c };
		epoll_ctl(poll_line, EPOLL_CTL_MOD, c->line, &event);
		c->shaken = 1;
		say_hello(c);
	}
	if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		return;
	for (int size;;) {
		size = SSL_read(c->tls, piece, PIECE);
		if (size > 0)
			take_bytes(c, piece, size);
		else {
			if (SSL_get_error(c->tls, size) != SSL_ERROR_WANT_READ) {
				lost++;
				drop(c);
			}
			return;
		}
	}
}

static void turn(int wait_ms)
{
	static int next;
	struct epoll_event events[EVENTS];
	for (int some = count / 64 + 1; some--; next = (next + 1) % count) /* who only listens says that it lives */
		if (clients[next].welcome && now() - clients[next].said_at > quiet)
			send_frame(&clients[next], ping, sizeof ping - 1);
	if (count && !probe_sent && now() >= probe_at) { /* how soon it answers meanwhile; by turns, since pings have a rate */
		prober = (prober + 1) % count;
		if (clients[prober].welcome) {
			probe_sent = now();
			probe_at = probe_sent + PROBE_EVERY;
			send_frame(&clients[prober], ping, sizeof ping - 1);
		}
	}
	int found = epoll_wait(poll_line, events, EVENTS, wait_ms);
	for (int i = 0; i < found; i++)
		happen(events[i].data.ptr, events[i].events);
}

/* --- commands ------------------------------------------------------------------------------ */

static int ascending(const void *left, const void *right)
{
	double a = *(const double *)left, b = *(const double *)right;
	return (a > b) - (a < b);
}

static void answer_probes(void)
{
	qsort(probes, probe_count, sizeof *probes, ascending);
	if (probe_count)
		printf(", \"answer_p50_ms\": %.2f, \"answer_worst_ms\": %.2f", 1e3 * probes[probe_count / 2],
		       1e3 * probes[probe_count - 1]);
	probe_count = 0;
}

static void set_target(int new_target)
{
	target = new_target;
	informed = 0;
	for (int i = 0; i < count; i++)
		informed += clients[i].line >= 0 && clients[i].complete && clients[i].known >= target;
}

static void login(int port, int wanted, int window)
{
	double began = now(), used = cpu(), all_in = 0;
	unsigned long long before = bytes_in;
	int next = 0, failures = failed;
	probe_count = 0;
	set_target(wanted);
	while ((welcomed < wanted || informed < wanted) && now() - began < PATIENCE && failed == failures) {
		while (next < wanted && online - welcomed < window)
			if (clients[next++].line < 0)
				connect_to(&clients[next - 1], port);
		turn(5);
		if (!all_in && welcomed == wanted)
			all_in = now() - began;
	}
	printf("{\"logged_in_s\": %.4f, \"seconds\": %.4f, \"mb_told\": %.3f, \"cpu_s_load\": %.3f, \"missed\": %d", all_in,
	       now() - began, (bytes_in - before) / 1e6, cpu() - used, wanted - informed);
	answer_probes();
	puts("}");
}

static void watch(int number, int leaving)
{
	watched = number;
	watch_left = leaving;
	told = 0;
	for (int i = 0; i < count; i++)
		clients[i].told = 0;
}

/* The client that joins is told of itself too: then ``itself`` is 1. */
static void answer_watch(int others, int itself, double since)
{
	static double times[1 << 17];
	int found = 0;
	double until = now() + 30;
	while (told < others + itself && now() < until)
		turn(5);
	for (int i = 0; i < count; i++)
		if (clients[i].told && i != watched)
			times[found++] = 1e3 * (clients[i].told_at - since);
	qsort(times, found, sizeof *times, ascending);
	printf("{\"median_ms\": %.3f, \"last_ms\": %.3f, \"missed\": %d}\n", found ? times[found / 2] : 0,
	       found ? times[found - 1] : 0, others - found);
	watched = -1;
	for (double quiet = now() + 0.1; now() < quiet;)
		turn(5);
}

static void join(int port, int number)
{
	int others = welcomed;
	watch(number, 0);
	connect_to(&clients[number], port);
	while (!clients[number].welcome && !failed)
		turn(5);
	answer_watch(others, 1, hello_at);
}

static void leave(int number)
{
	static const uint8_t bye[] = "\x91\xa3" "bye";
	double since = now();
	watch(number, 1);
	send_frame(&clients[number], bye, sizeof bye - 1);
	SSL_shutdown(clients[number].tls);
	drop(&clients[number]);
	clients[number].cursor_size = 0;
	answer_watch(welcomed, 0, since);
}

static void rest(double seconds)
{
	double used = cpu();
	for (double until = now() + seconds; now() < until;)
		turn(5);
	printf("{\"cpu_s_load\": %.3f", cpu() - used);
	answer_probes();
	puts("}");
}

static void stay(void)
{
	struct pollfd commands = { .fd = 0, .events = POLLIN };
	int before = lost;
	while (!poll(&commands, 1, 0))
		turn(5);
	printf("{\"lost\": %d", lost - before);
	answer_probes();
	puts("}");
}

static void lose(void)
{
	double began = now();
	while (online && now() - began < PATIENCE)
		turn(5);
	printf("{\"seconds\": %.3f}\n", now() - began);
}

int main(int words, char **word)
{
	char line[200];
	int a, b, c;
	double seconds;
	struct rlimit files;
	if (words != 2) {
		fputs("load CLIENTS\n", stderr);
		return 2;
	}
	signal(SIGPIPE, SIG_IGN); /* a registry that is gone is lost, no more */
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	load_clients(word[1]);
	poll_line = epoll_create1(0);
	context = SSL_CTX_new(TLS_client_method());
	SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
	SSL_CTX_set_ciphersuites(context, "TLS_AES_128_GCM_SHA256");
	SSL_CTX_set_alpn_protos(context, (const uint8_t *)"\x09" "chatnet/1", 10);
	SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
	setvbuf(stdin, NULL, _IONBF, 0); /* a command that waits is seen */
	setvbuf(stdout, NULL, _IOLBF, 0);
	while (fgets(line, sizeof line, stdin)) {
		if (sscanf(line, "login %d %d %d", &a, &b, &c) == 3 && b <= count)
			login(a, b, c);
		else if (sscanf(line, "join %d %d", &a, &b) == 2 && b < count)
			join(a, b);
		else if (sscanf(line, "leave %d", &a) == 1 && a < count && clients[a].line >= 0)
			leave(a);
		else if (sscanf(line, "rest %lf", &seconds) == 1)
			rest(seconds);
		else if (sscanf(line, "stay %lf", &quiet) == 1)
			stay();
		else if (!strncmp(line, "lost", 4))
			lose();
		else
			puts("{\"error\": \"what is that?\"}");
	}
	return 0;
}
