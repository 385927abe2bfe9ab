/* Binds addresses again when the kernel reports that they were removed, and does nothing else: the least time
 * that any program can take for it. `cargo xtask hostile` compares evenkeel with it under the same load.
 *
 * Usage: rebind INTERFACE ADDRESS...
 * Binds the addresses (/32, /128) to the interface, prints "ready", and runs until it is killed. */

#include <arpa/inet.h>
#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* As large as evenkeel's receive buffer. */
#define ROOM (1 << 20)
#define MAX_ADDRESSES 256

struct address {
	unsigned char family;
	unsigned char length;
	unsigned char bytes[16];
};

struct request {
	struct nlmsghdr head;
	struct ifaddrmsg message;
	struct rtattr attribute;
	unsigned char bytes[16];
};

static struct address addresses[MAX_ADDRESSES];
static int count;
static unsigned int link_index;
static int requests;

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

/* Sends the request; the kernel answers only if it refuses it, as when the address is there. */
static void bind_address(const struct address *address)
{
	struct request request = { 0 };
	char refusal[4096];

	request.attribute.rta_type = IFA_LOCAL;
	request.attribute.rta_len = RTA_LENGTH(address->length);
	memcpy(request.bytes, address->bytes, address->length);
	request.message.ifa_family = address->family;
	request.message.ifa_prefixlen = address->length * 8;
	request.message.ifa_flags = address->family == AF_INET6 ? IFA_F_NODAD : 0;
	request.message.ifa_index = link_index;
	request.head.nlmsg_type = RTM_NEWADDR;
	request.head.nlmsg_flags = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL;
	request.head.nlmsg_len = NLMSG_LENGTH(sizeof(request.message)) + request.attribute.rta_len;
	if (send(requests, &request, request.head.nlmsg_len, 0) < 0)
		fail("send");
	while (recv(requests, refusal, sizeof(refusal), MSG_DONTWAIT) > 0)
		;
}

static void bind_all(void)
{
	for (int i = 0; i < count; i++)
		bind_address(&addresses[i]);
}

static void on_removed(const struct nlmsghdr *head)
{
	const struct ifaddrmsg *message = NLMSG_DATA(head);
	int length = IFA_PAYLOAD(head);

	if (head->nlmsg_type != RTM_DELADDR || message->ifa_index != link_index)
		return;
	for (struct rtattr *it = IFA_RTA(message); RTA_OK(it, length); it = RTA_NEXT(it, length)) {
		if (it->rta_type != (message->ifa_family == AF_INET ? IFA_LOCAL : IFA_ADDRESS))
			continue;
		for (int i = 0; i < count; i++) {
			const struct address *address = &addresses[i];

			if (address->family == message->ifa_family &&
			    !memcmp(address->bytes, RTA_DATA(it), address->length))
				bind_address(address);
		}
	}
}

static void parse(const char *text)
{
	struct address *address = &addresses[count++];

	address->family = strchr(text, ':') ? AF_INET6 : AF_INET;
	address->length = address->family == AF_INET6 ? 16 : 4;
	if (inet_pton(address->family, text, address->bytes) != 1) {
		fprintf(stderr, "%s: not an address\n", text);
		exit(2);
	}
}

int main(int argc, char **argv)
{
	static char received[64 * 1024] __attribute__((aligned(NLMSG_ALIGNTO)));
	struct sockaddr_nl groups = { .nl_family = AF_NETLINK };
	int events = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	int room = ROOM;

	requests = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (events < 0 || requests < 0)
		fail("socket");
	if (argc < 3 || argc - 2 > MAX_ADDRESSES || !(link_index = if_nametoindex(argv[1]))) {
		fprintf(stderr, "usage: rebind INTERFACE ADDRESS...\n");
		return 2;
	}
	for (int i = 2; i < argc; i++)
		parse(argv[i]);
	groups.nl_groups = RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR;
	if (setsockopt(events, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room)) ||
	    bind(events, (struct sockaddr *)&groups, sizeof(groups)))
		fail("subscribe");
	bind_all();
	puts("ready");
	fflush(stdout);
	for (;;) {
		int length = recv(events, received, sizeof(received), 0);

		if (length < 0 && errno == ENOBUFS)
			bind_all();
		else if (length < 0 && errno != EINTR)
			fail("recv");
		for (struct nlmsghdr *head = (void *)received; NLMSG_OK(head, length);
		     head = NLMSG_NEXT(head, length))
			on_removed(head);
	}
}
