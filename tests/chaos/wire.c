/* wire.c - chaos_wire: two network namespaces and the only way between them, a pair of TUN devices whose packets this process
 * carries, loses, doubles, delays and mixes up. Driven by tests/wired.py.
 *
 *     chaos_wire SEED        a is 10.88.0.1, b is 10.88.0.2
 *
 * The namespaces have no names: who wants to be in one enters it through the descriptors of "ready PID FD_A FD_B", and they
 * are gone with their processes. Then each line of its input is one order, answered with "ok NS PASSED LOST CUT": when it held,
 * by CLOCK_MONOTONIC, and how many packets met which end.
 *
 *     weather DELAY_US JITTER_US LOSS DUP REORDER      each packet is held so long, and up to JITTER longer; of a thousand,
 *                                                      so many are lost, doubled, or sent at once, before those that wait
 *     cut A B            1: nothing that a (b) sends passes, what is under way included; nobody is told, as by a pulled plug
 *
 * It ends when its input does. Exit 77: namespaces or TUN devices are not permitted here, and why.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/random.h"
#include "tests/chaos/driven.h"

enum { PACKETS = 8192, PACKET_BYTES = 2048, MTU = 1500, BURST = 64, QUEUE = 5000, SKIPPED = 77 };

typedef struct packet {
    uint64_t due_ns, number; /* number: those that are due at once leave in the order they came */
    uint32_t size_bytes, to;
    uint8_t bytes[PACKET_BYTES];
} packet;

static struct {
    uint32_t delay_us, jitter_us, loss, dup, reorder;
} weather;
static int tun[2], space[2];
static bool cut[2]; /* what this side sends */
static packet packets[PACKETS];
static packet *heap[PACKETS], *spare[PACKETS];
static uint32_t held, spares;
static uint64_t passed, lost, dropped, last_ns[2], numbers;
static stoa_random chance;

static uint64_t now_ns(void)
{
    return stoa_clock_real.now_ns(&stoa_clock_real);
}

static void skip(const char *what)
{
    (void)fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(SKIPPED);
}

/* --- two namespaces */

static void order(int fd, unsigned long request, struct ifreq *with, const char *what)
{
    if (ioctl(fd, request, with)) { skip(what); }
}

static void address_set(int fd, struct ifreq *device, unsigned long request, const char *text)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    (void)inet_pton(AF_INET, text, &address.sin_addr);
    memcpy(&device->ifr_addr, &address, sizeof address);
    order(fd, request, device, text);
}

/* Enter a namespace of our own and make its end of the wire. */
static void side_make(uint32_t side, const char *address)
{
    struct ifreq device = {.ifr_name = "wire"}, lo = {.ifr_name = "lo"};
    if (unshare(CLONE_NEWNET)) { skip("a network namespace"); }
    space[side] = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    tun[side] = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (space[side] < 0 || tun[side] < 0) { skip("/dev/net/tun"); }
    device.ifr_flags = IFF_TUN | IFF_NO_PI;
    order(tun[side], TUNSETIFF, &device, "a TUN device");
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    address_set(fd, &device, SIOCSIFADDR, address);
    address_set(fd, &device, SIOCSIFNETMASK, "255.255.255.0");
    device.ifr_mtu = MTU;
    order(fd, SIOCSIFMTU, &device, "mtu");
    device.ifr_qlen = QUEUE;
    order(fd, SIOCSIFTXQLEN, &device, "queue");
    device.ifr_flags = lo.ifr_flags = IFF_UP | IFF_RUNNING;
    order(fd, SIOCSIFFLAGS, &device, "up");
    order(fd, SIOCSIFFLAGS, &lo, "lo");
    (void)close(fd);
}

/* --- packets that wait, the first due on top of a heap */

static bool before(const packet *a, const packet *b)
{
    return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->number < b->number;
}

static void heap_put(packet *p)
{
    uint32_t at = held++;
    while (at > 0 && before(p, heap[(at - 1) / 2])) {
        heap[at] = heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap[at] = p;
}

static packet *heap_take(void)
{
    packet *first = heap[0], *last = heap[--held];
    uint32_t at = 0;
    for (uint32_t child; (child = 2 * at + 1) < held; at = child) {
        if (child + 1 < held && before(heap[child + 1], heap[child])) { child++; }
        if (!before(heap[child], last)) { break; }
        heap[at] = heap[child];
    }
    if (held > 0) { heap[at] = last; }
    return first;
}

static void hold(uint32_t from, const uint8_t *bytes, uint32_t size_bytes)
{
    if (spares == 0) { /* as any router does */
        lost++;
        return;
    }
    packet *p = spare[--spares];
    uint64_t due_ns = now_ns();
    if (!stoa_random_chance(&chance, weather.reorder)) {
        due_ns += weather.delay_us * UINT64_C(1000);
        due_ns += weather.jitter_us ? stoa_random_below(&chance, weather.jitter_us) * 1000 : 0;
        if (due_ns < last_ns[from]) { due_ns = last_ns[from]; } /* jitter alone mixes nothing up */
        last_ns[from] = due_ns;
    }
    p->due_ns = due_ns;
    p->number = numbers++;
    p->to = !from;
    p->size_bytes = size_bytes;
    memcpy(p->bytes, bytes, size_bytes);
    heap_put(p);
}

static void packets_read(uint32_t from)
{
    uint8_t bytes[PACKET_BYTES];
    for (uint32_t i = 0; i < BURST; i++) {
        ssize_t size_bytes = read(tun[from], bytes, sizeof bytes);
        if (size_bytes <= 0) { return; }
        if (cut[from]) {
            dropped++;
        } else if (stoa_random_chance(&chance, weather.loss)) {
            lost++;
        } else {
            for (int copies = stoa_random_chance(&chance, weather.dup) ? 2 : 1; copies > 0; copies--) {
                hold(from, bytes, (uint32_t)size_bytes);
            }
        }
    }
}

static void packets_write(void)
{
    for (uint64_t now = now_ns(); held > 0 && heap[0]->due_ns <= now;) {
        packet *p = heap_take();
        if (cut[!p->to]) {
            dropped++;
        } else {
            passed += write(tun[p->to], p->bytes, p->size_bytes) > 0;
        }
        spare[spares++] = p;
    }
}

/* --- orders */

/* The numbers behind a word of a line; how many there are. */
static unsigned numbers_of(const char *line, const char *word, uint32_t *out, unsigned most)
{
    size_t length = strlen(word);
    unsigned count = 0;
    if (strncmp(line, word, length) != 0) { return 0; }
    for (const char *at = line + length; count < most; count++) {
        char *end;
        out[count] = (uint32_t)strtoul(at, &end, 10);
        if (end == at) { break; }
        at = end;
    }
    return count;
}

static void obey(const char *line)
{
    uint32_t n[5];
    if (numbers_of(line, "weather", n, 5) == 5) {
        weather.delay_us = n[0], weather.jitter_us = n[1], weather.loss = n[2], weather.dup = n[3],
        weather.reorder = n[4];
    } else if (numbers_of(line, "cut", n, 2) == 2) {
        cut[0] = n[0] > 0;
        cut[1] = n[1] > 0;
    } else {
        (void)fprintf(stderr, "no such order: %s\n", line);
        exit(2);
    }
    printf("ok %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", now_ns(), passed, lost, dropped);
    (void)fflush(stdout);
}

int main(int argc, char **argv)
{
    if (argc != 2) { return 2; }
    stoa_random_seed(&chance, strtoull(argv[1], NULL, 10));
    side_make(0, "10.88.0.1");
    side_make(1, "10.88.0.2");
    for (uint32_t i = 0; i < PACKETS; i++) {
        spare[spares++] = &packets[i];
    }
    printf("ready %d %d %d\n", (int)getpid(), space[0], space[1]);
    (void)fflush(stdout);
    for (;;) {
        struct pollfd fds[] = {{tun[0], POLLIN, 0}, {tun[1], POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
        struct timespec wait = {3600, 0};
        if (held > 0) {
            uint64_t now = now_ns(), wait_ns = heap[0]->due_ns > now ? heap[0]->due_ns - now : 0;
            wait = (struct timespec){(time_t)(wait_ns / STOA_S(1)), (long)(wait_ns % STOA_S(1))};
        }
        (void)ppoll(fds, 3, &wait, NULL);
        if (fds[2].revents) { orders_read(obey); }
        for (uint32_t side = 0; side < 2; side++) {
            if (fds[side].revents) { packets_read(side); }
        }
        packets_write();
    }
}
