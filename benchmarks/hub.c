/* Thousands of users of an ADC hub (uhub) in one process, in clear; it is not what is measured.
 *
 *     hub IDENTITIES
 *
 * Build: cc -O2 -o hub hub.c
 *
 * IDENTITIES is a text that hub.py makes: for each user a line with its CID and PID.  Commands come
 * as lines, and each is answered with a line of JSON, as by load.c:
 *
 *     login PORT COUNT WINDOW   connect the first COUNT users, WINDOW at a time; until everyone knows
 *                               everyone
 *     join PORT USER            one more; until all the others were told
 *     leave USER                it closes its connection; until all the others were told
 *
 * Who knows whom is counted: a user knows as many as it got BINF lines (ADC 1.0), itself included,
 * less the IQUI lines.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PIECE = 1 << 18, EVENTS = 64, LINE = 512 };
static const double PATIENCE = 900;

struct user {
	char cid[48], pid[48], sid[5];
	int line, in, known, told;
	double told_at;
	char held[LINE]; /* the beginning of a line */
	int held_size;
};

static struct user *users;
static int count, poll_line, online, inside, informed, target, told, failed;
static char watched[8]; /* what others hear of the one who joins or leaves: its SID */
static int watches_leaving;
static unsigned long long bytes_in;
static double said_at;

static double clock_of(clockid_t which)
{
	struct timespec t;
	clock_gettime(which, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static double now(void) { return clock_of(CLOCK_MONOTONIC); }

static double cpu(void) { return clock_of(CLOCK_PROCESS_CPUTIME_ID); }

static void give_up(const char *what)
{
	perror(what);
	exit(1);
}

static void drop(struct user *u)
{
	close(u->line);
	u->line = -1;
	online--;
	inside -= u->in;
	informed -= u->in && u->known >= target;
	u->in = u->known = u->held_size = 0;
	u->sid[0] = 0;
}

static void say(struct user *u, const char *text)
{
	if (send(u->line, text, strlen(text), MSG_NOSIGNAL) != (ssize_t)strlen(text))
		failed++; /* never with so little under way */
}

static void connect_to(struct user *u, int port)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = u };
	int one = 1;
	u->line = socket(AF_INET, SOCK_STREAM, 0);
	if (u->line < 0 || connect(u->line, (struct sockaddr *)&at, sizeof at))
		give_up("connect");
	setsockopt(u->line, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	epoll_ctl(poll_line, EPOLL_CTL_ADD, u->line, &event);
	online++;
	say(u, "HSUP ADBASE ADTIGR\n");
}

static void hear_of(struct user *u, const char *sid, int leaving)
{
	if (watched[0] && watches_leaving == leaving && !u->told && !memcmp(sid, watched, 4)) {
		u->told = 1;
		u->told_at = now();
		told++;
	}
}

static void take_line(struct user *u, const char *text)
{
	char answer[LINE];
	if (!strncmp(text, "ISID ", 5)) {
		memcpy(u->sid, text + 5, 4);
		snprintf(answer, sizeof answer,
			 "BINF %s ID%s PD%s NIpeer%05d SL1 SS0 SF0 HN1 HR0 HO0 I4127.0.0.1 SUTCP4\n", u->sid, u->cid,
			 u->pid, (int)(u - users));
		if (watched[0] == '?') {
			memcpy(watched, u->sid, 4);
			said_at = now();
		}
		say(u, answer);
	} else if (!strncmp(text, "BINF ", 5)) {
		int was = u->in && u->known >= target;
		u->known++;
		if (!memcmp(text + 5, u->sid, 4) && !u->in) {
			u->in = 1;
			inside++;
		}
		informed += (u->in && u->known >= target) - was;
		hear_of(u, text + 5, 0);
	} else if (!strncmp(text, "IQUI ", 5)) {
		u->known--;
		hear_of(u, text + 5, 1);
	} else if (!strncmp(text, "ISTA 2", 6)) {
		fprintf(stderr, "%s\n", text);
		failed++;
	}
}

static void take_bytes(struct user *u, char *data, int size)
{
	bytes_in += size;
	for (char *end; size && (end = memchr(data, '\n', size)); ) {
		*end = 0;
		if (u->held_size) {
			if (u->held_size + (end - data) < LINE) {
				memcpy(u->held + u->held_size, data, end - data + 1);
				take_line(u, u->held);
			}
			u->held_size = 0;
		} else
			take_line(u, data);
		size -= end + 1 - data;
		data = end + 1;
	}
	if (size && u->held_size + size < LINE) {
		memcpy(u->held + u->held_size, data, size);
		u->held_size += size;
	}
}

static void turn(int wait_ms)
{
	static char piece[PIECE];
	struct epoll_event events[EVENTS];
	int found = epoll_wait(poll_line, events, EVENTS, wait_ms);
	for (int i = 0; i < found; i++) {
		struct user *u = events[i].data.ptr;
		ssize_t size = u->line < 0 ? 0 : recv(u->line, piece, PIECE, MSG_DONTWAIT);
		if (size > 0)
			take_bytes(u, piece, size);
		else if (u->line >= 0 && (size == 0 || errno != EAGAIN)) {
			failed++;
			drop(u);
		}
	}
}

static void login(int port, int wanted, int window)
{
	double began = now(), used = cpu(), all_in = 0;
	unsigned long long before = bytes_in;
	int next = 0;
	target = wanted;
	while (informed < wanted && !failed && now() - began < PATIENCE) {
		while (next < wanted && online - inside < window)
			connect_to(&users[next++], port);
		turn(5);
		if (!all_in && inside == wanted)
			all_in = now() - began;
	}
	printf("{\"logged_in_s\": %.4f, \"seconds\": %.4f, \"mb_told\": %.3f, \"cpu_s_load\": %.3f, \"missed\": %d}\n",
	       all_in, now() - began, (bytes_in - before) / 1e6, cpu() - used, wanted - informed);
}

static int ascending(const void *left, const void *right)
{
	double a = *(const double *)left, b = *(const double *)right;
	return (a > b) - (a < b);
}

static void answer_watch(const struct user *itself, int others)
{
	static double times[1 << 17];
	int found = 0;
	for (double until = now() + 30; told < others + (itself->line >= 0) && now() < until;)
		turn(5);
	for (int i = 0; i < count; i++)
		if (users[i].told && &users[i] != itself)
			times[found++] = 1e3 * (users[i].told_at - said_at);
	qsort(times, found, sizeof *times, ascending);
	printf("{\"median_ms\": %.3f, \"last_ms\": %.3f, \"missed\": %d}\n", found ? times[found / 2] : 0,
	       found ? times[found - 1] : 0, others - found);
	watched[0] = 0;
	for (double quiet = now() + 0.1; now() < quiet;)
		turn(5);
}

static void watch(const char *whom, int leaving)
{
	strcpy(watched, whom);
	watches_leaving = leaving;
	told = 0;
	for (int i = 0; i < count; i++)
		users[i].told = 0;
}

int main(int words, char **word)
{
	char line[200];
	int a, b, c;
	struct rlimit files;
	FILE *file = words == 2 ? fopen(word[1], "r") : NULL;
	if (!file) {
		fputs("hub IDENTITIES\n", stderr);
		return 2;
	}
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	for (int room = 0;; count++) {
		if (count == room)
			users = realloc(users, (room = room * 2 + 64) * sizeof *users);
		struct user *u = memset(&users[count], 0, sizeof *u);
		u->line = -1;
		if (fscanf(file, "%47s %47s", u->cid, u->pid) != 2)
			break;
	}
	poll_line = epoll_create1(0);
	setvbuf(stdout, NULL, _IOLBF, 0);
	while (fgets(line, sizeof line, stdin)) {
		if (sscanf(line, "login %d %d %d", &a, &b, &c) == 3 && b <= count)
			login(a, b, c);
		else if (sscanf(line, "join %d %d", &a, &b) == 2 && b < count) {
			int others = inside;
			watch("?", 0);
			connect_to(&users[b], a);
			answer_watch(&users[b], others);
		} else if (sscanf(line, "leave %d", &a) == 1 && a < count && users[a].line >= 0) {
			watch(users[a].sid, 1);
			said_at = now();
			drop(&users[a]);
			answer_watch(&users[a], inside);
		} else
			puts("{\"error\": \"what is that?\"}");
	}
	return 0;
}
