/* The least that a proxy of small requests does, for measure.py beside it: what comes on a client's
   connection goes to a server's that belongs to it, and back, message by message, in one thread, by
   the system calls that Waypost makes (recv, send, epoll_wait).

       forwarder PORT SERVER_PORT at-once|turn|ring

   When a message is sent: at once; all of a turn of the event loop behind each other at its end; or
   these by one call of io_uring. Built with -DWORK, each message touches as much memory and code as a
   request does in Waypost, a half of it in each direction. What goes wrong is not handled: it measures
   against servers and clients of its own machine. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/io_uring.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { LINE = 64, OWN_LINES = 100, COMMON_LINES = 64, EVENTS = 1024, MESSAGE = 4096, SENDS = 8192 };

struct connection {
    int socket;
    int is_servers;
    struct connection *other;
    char message[MESSAGE];
    char state[OWN_LINES * LINE];
};

struct send_due {
    struct connection *to;
    char *bytes;
    int length;
};

static enum { AT_ONCE, TURN, RING } when;
static int epoll;
static struct send_due due[SENDS];
static int sends_due;

static struct {
    int descriptor;
    _Atomic unsigned *tail, *done_head, *done_tail;
    unsigned *mask, *order;
    struct io_uring_sqe *entries;
} ring;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

/* 12,000 instructions of 48 KB, other ones in each direction, and 164 cache lines. */
static void work(struct connection *on) {
#ifdef WORK
    static char common[COMMON_LINES * LINE];
    unsigned long value = 1;
    for (int line = 0; line < OWN_LINES; line++) on->state[line * LINE]++;
    for (int line = 0; line < COMMON_LINES; line++) common[line * LINE]++;
#define STEPS(NUMBER) __asm__ volatile(".rept 3000\n add $" NUMBER ", %0\n lea 5(%0), %%rcx\n" \
    " mov %%rcx, %%rdx\n xor %%rdx, %%rdx\n .endr" : "+r"(value) : : "rcx", "rdx")
    if (on->is_servers) STEPS("3"); else STEPS("7");
#else
    (void)on;
#endif
}

static void open_ring(void) {
    struct io_uring_params asked = {
        .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE,
        .cq_entries = SENDS,
    };
    ring.descriptor = syscall(__NR_io_uring_setup, SENDS / 2, &asked);
    if (ring.descriptor < 0) fail("io_uring_setup");
    int access = PROT_READ | PROT_WRITE, how = MAP_SHARED | MAP_POPULATE;
    size_t length = asked.sq_off.array + asked.sq_entries * sizeof(unsigned);
    char *submitted = mmap(0, length, access, how, ring.descriptor, IORING_OFF_SQ_RING);
    length = asked.cq_off.cqes + asked.cq_entries * sizeof(struct io_uring_cqe);
    char *done = mmap(0, length, access, how, ring.descriptor, IORING_OFF_CQ_RING);
    length = asked.sq_entries * sizeof(struct io_uring_sqe);
    ring.entries = mmap(0, length, access, how, ring.descriptor, IORING_OFF_SQES);
    if (submitted == MAP_FAILED || done == MAP_FAILED || ring.entries == MAP_FAILED) fail("mmap");
    ring.tail = (void *)(submitted + asked.sq_off.tail);
    ring.mask = (void *)(submitted + asked.sq_off.ring_mask);
    ring.order = (void *)(submitted + asked.sq_off.array);
    ring.done_head = (void *)(done + asked.cq_off.head);
    ring.done_tail = (void *)(done + asked.cq_off.tail);
}

static void end_turn(void) {
    if (sends_due == 0) return;
    if (when == TURN) {
        for (int at = 0; at < sends_due; at++)
            send(due[at].to->socket, due[at].bytes, due[at].length, MSG_NOSIGNAL);
    } else {
        unsigned tail = *ring.tail;
        for (int at = 0; at < sends_due; at++, tail++) {
            unsigned place = tail & *ring.mask;
            ring.entries[place] = (struct io_uring_sqe){
                .opcode = IORING_OP_SEND,
                .fd = due[at].to->socket,
                .addr = (unsigned long)due[at].bytes,
                .len = due[at].length,
                .msg_flags = MSG_NOSIGNAL | MSG_DONTWAIT,
            };
            ring.order[place] = place;
        }
        *ring.tail = tail;
        int flags = IORING_ENTER_GETEVENTS;
        if (syscall(__NR_io_uring_enter, ring.descriptor, sends_due, sends_due, flags, 0, 0) < 0)
            fail("io_uring_enter");
        *ring.done_head = *ring.done_tail;
    }
    sends_due = 0;
}

static struct connection *watched(int socket, int is_servers) {
    int on = 1;
    setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct connection *made = calloc(1, sizeof *made);
    made->socket = socket;
    made->is_servers = is_servers;
    struct epoll_event event = {EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, {.ptr = made}};
    epoll_ctl(epoll, EPOLL_CTL_ADD, socket, &event);
    return made;
}

static void accept_clients(int listening, struct sockaddr_in server) {
    int socket_of_client;
    while ((socket_of_client = accept4(listening, 0, 0, SOCK_NONBLOCK)) >= 0) {
        int socket_of_server = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(socket_of_server, (void *)&server, sizeof server)) fail("connect");
        struct connection *client = watched(socket_of_client, 0);
        struct connection *servers = watched(socket_of_server, 1);
        client->other = servers;
        servers->other = client;
    }
}

static void pass_on(struct connection *from) {
    int length = recv(from->socket, from->message, MESSAGE, MSG_DONTWAIT);
    if (length == 0) close(from->socket);
    if (length <= 0) return;
    work(from);
    if (when == AT_ONCE)
        send(from->other->socket, from->message, length, MSG_NOSIGNAL);
    else
        due[sends_due++] = (struct send_due){from->other, from->message, length};
}

int main(int count, char **arguments) {
    if (count != 4) return 2;
    when = !strcmp(arguments[3], "ring") ? RING : !strcmp(arguments[3], "turn") ? TURN : AT_ONCE;
    if (when == RING) open_ring();
    epoll = epoll_create1(0);
    int on = 1, listening = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(listening, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    struct sockaddr_in here = {
        .sin_family = AF_INET,
        .sin_port = htons(atoi(arguments[1])),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    struct sockaddr_in server = here;
    server.sin_port = htons(atoi(arguments[2]));
    if (bind(listening, (void *)&here, sizeof here) || listen(listening, 1024)) fail("listen");
    struct epoll_event event = {EPOLLIN, {.ptr = 0}}, events[EVENTS];
    epoll_ctl(epoll, EPOLL_CTL_ADD, listening, &event);
    for (;;) {
        int ready = epoll_wait(epoll, events, EVENTS, -1);
        for (int at = 0; at < ready; at++) {
            if (!events[at].data.ptr) accept_clients(listening, server);
            else if (events[at].events & EPOLLIN) pass_on(events[at].data.ptr);
        }
        end_turn();
    }
}
