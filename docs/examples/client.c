/* Counts what a feed sends, until it ends: a consumer in C. Format: docs/wire.md.
   cc -O2 -o client client.c -lzmq && ./client tcp://127.0.0.1:5540 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if __has_include(<zmq.h>)
#include <zmq.h>
#else /* a machine that has the library but not its header */
void *zmq_ctx_new(void), *zmq_socket(void *context, int type);
int zmq_connect(void *socket, const char *endpoint);
int zmq_setsockopt(void *socket, int option, const void *value, size_t size);
int zmq_getsockopt(void *socket, int option, void *value, size_t *size);
int zmq_recv(void *socket, void *data, size_t size, int flags);
enum { ZMQ_PULL = 7, ZMQ_RCVMORE = 13, ZMQ_MAXMSGSIZE = 22 };
#endif

enum { HEADER = 80, DATA = 1, END = 3, MAX_PAYLOAD = 256 << 20 };

static uint32_t u32(const uint8_t *p) {
    return p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24;
}
static uint64_t u64(const uint8_t *p) { return u32(p) | (uint64_t)u32(p + 4) << 32; }

static uint32_t crc32c(uint32_t crc, const uint8_t *data, size_t size) {
    for (crc = ~crc; size--; data++) {
        crc ^= *data;
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
    }
    return ~crc;
}

/* What is wrong with a message, or NULL. Sizes are as sent and may exceed the buffers. */
static const char *problem(uint8_t *head, int head_size, const uint8_t *payload, int size) {
    if (size < 0) return "number of frames";
    if (head_size < HEADER) return "truncated message";
    if (memcmp(head, "S40W", 4)) return "wrong magic";
    if ((u32(head + 4) & 0xffff) != 1) return "wrong version";
    if (head_size > HEADER || size > MAX_PAYLOAD) return "oversized message";
    if (u32(head + 68) != (uint32_t)size) return "size of the payload";
    uint32_t expected = u32(head + 76);
    memset(head + 76, 0, 4);
    return crc32c(crc32c(0, head, HEADER), payload, size) == expected ? NULL : "crc mismatch";
}

int main(int count, char **arguments) {
    uint8_t head[HEADER], *payload = malloc(MAX_PAYLOAD);
    uint64_t orbits = 0, packets = 0, lost = 0, dropped = 0, bad = 0;
    uint64_t feed = 0, sent_before = 0, dropped_before = 0; /* expected in the next message */
    void *socket = zmq_socket(zmq_ctx_new(), ZMQ_PULL);
    int64_t most = MAX_PAYLOAD;
    zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &most, sizeof most);
    if (count != 2 || !payload || zmq_connect(socket, arguments[1])) return 2;
    for (int kind = 0; kind != END;) {
        int more = 0, size = -1, head_size = zmq_recv(socket, head, HEADER, 0);
        size_t width = sizeof more;
        for (int frame = 1; !zmq_getsockopt(socket, ZMQ_RCVMORE, &more, &width) && more; frame++) {
            size = zmq_recv(socket, payload, MAX_PAYLOAD, 0);
            if (frame > 1) size = -1; /* two frames, no more */
        }
        if (head_size < 0) return 1; /* interrupted */
        const char *wrong = problem(head, head_size, payload, size);
        if (wrong) {
            fprintf(stderr, "bad message: %s\n", wrong);
            bad++;
            continue;
        }
        kind = u32(head + 4) >> 16;
        uint64_t sent_now = u64(head + 24), dropped_now = u64(head + 32);
        if (u64(head + 8) == feed) { /* the same feed as before: what lies between was missed */
            lost += sent_now - sent_before;
            dropped += dropped_now - dropped_before;
        }
        feed = u64(head + 8);
        sent_before = sent_now + u32(head + 64); /* packets is 0 but for data */
        dropped_before = dropped_now;
        orbits += u32(head + 60);
        packets += u32(head + 64);
    }
    printf("orbits %" PRIu64 " packets %" PRIu64, orbits, packets);
    printf(" lost %" PRIu64 " dropped %" PRIu64 " bad %" PRIu64 "\n", lost, dropped, bad);
    return 0;
}
