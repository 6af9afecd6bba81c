/* What this machine can do at most: one file over TCP with mutual TLS 1.3, from disk to disk.
 *
 *     limit receive PORT FILE CERTIFICATE KEY PEER
 *     limit send    PORT FILE CERTIFICATE KEY PEER
 *
 * Build: cc -O2 -o limit limit.c -lssl -lcrypto
 *
 * Each side shows CERTIFICATE and accepts only PEER (PEM files).  The receiver prints READY, takes
 * one connection, writes FILE, brings it to the disk and answers one byte; the sender ends with it.
 * Nothing is hashed: that is the work the limit leaves out.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PIECE = 1 << 20, RECORD = 16384 };

static char piece[PIECE];

static void give_up(const char *what)
{
	perror(what);
	ERR_print_errors_fp(stderr);
	exit(1);
}

static void write_all(int file, const char *from, ssize_t count)
{
	while (count > 0) {
		ssize_t written = write(file, from, count);
		if (written <= 0)
			give_up("write");
		from += written;
		count -= written;
	}
}

static SSL *secured(int line, int listening, char **pem)
{
	SSL_CTX *context = SSL_CTX_new(TLS_method());
	SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
	SSL_CTX_set_ciphersuites(context, "TLS_AES_128_GCM_SHA256");
	if (SSL_CTX_use_certificate_file(context, pem[0], SSL_FILETYPE_PEM) != 1 ||
	    SSL_CTX_use_PrivateKey_file(context, pem[1], SSL_FILETYPE_PEM) != 1 ||
	    SSL_CTX_load_verify_locations(context, pem[2], NULL) != 1)
		give_up("certificates");
	SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	SSL_CTX_set_read_ahead(context, 1);
	SSL_CTX_set_default_read_buffer_len(context, 8 * RECORD);
	SSL *tls = SSL_new(context);
	SSL_set_fd(tls, line);
	if ((listening ? SSL_accept(tls) : SSL_connect(tls)) != 1)
		give_up("handshake");
	return tls;
}

static void receive(int port_line, const char *path, char **pem)
{
	if (listen(port_line, 1))
		give_up("listen");
	puts("READY");
	fflush(stdout);
	int line = accept(port_line, NULL, NULL);
	int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (line < 0 || file < 0)
		give_up(path);
	SSL *tls = secured(line, 1, pem);
	int held = 0, count;
	while ((count = SSL_read(tls, piece + held, PIECE - held)) > 0)
		if ((held += count) > PIECE - RECORD) {
			write_all(file, piece, held);
			held = 0;
		}
	if (SSL_get_error(tls, count) != SSL_ERROR_ZERO_RETURN)
		give_up("the connection broke");
	write_all(file, piece, held);
	if (fsync(file) || close(file))
		give_up("fsync");
	SSL_write(tls, "k", 1);
}

static void send_file(int line, const char *path, char **pem)
{
	int file = open(path, O_RDONLY);
	if (file < 0)
		give_up(path);
	SSL *tls = secured(line, 0, pem);
	ssize_t count;
	while ((count = read(file, piece, PIECE)) > 0)
		if (SSL_write(tls, piece, count) != count)
			give_up("SSL_write");
	SSL_shutdown(tls);
	if (count < 0 || SSL_read(tls, piece, 1) != 1)
		give_up("not received");
}

int main(int count, char **words)
{
	if (count != 7) {
		fputs("limit receive|send PORT FILE CERTIFICATE KEY PEER\n", stderr);
		return 2;
	}
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(atoi(words[2])),
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int line = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
	setsockopt(line, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
	if (!strcmp(words[1], "receive")) {
		if (bind(line, (struct sockaddr *)&address, sizeof address))
			give_up("bind");
		receive(line, words[3], words + 4);
	} else {
		if (connect(line, (struct sockaddr *)&address, sizeof address))
			give_up("connect");
		send_file(line, words[3], words + 4);
	}
	return 0;
}
