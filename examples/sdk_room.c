/* sdk_room.c - join a room, print what was said lately, say what stands on standard input, print what others say.
 *
 *     sdk_room ENDPOINT SERVER.pub KEY ROOM
 *     sdk_room zmq+tcp://127.0.0.1:7400 ~/.stoa/keys/server.pub ~/.stoa/keys/demo lobby
 *
 * It ends with the end of standard input. One thread: standard input and the client wait in the same poll(2).
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <stoa_client.h>

static void explain(const stoa_client *client, stoa_err err)
{
    const char *text = stoa_client_error_text(client);
    (void)fprintf(stderr, "%s, %s\n", stoa_client_error_name(err), text[0] ? text : stoa_client_error_meaning(err));
}

static stoa_err connect_to(const stoa_client_options *options, stoa_client **out)
{
    stoa_err err = stoa_client_open(options, out);
    if (err) { return err; }
    err = stoa_client_wait(*out, STOA_CLIENT_S(5));
    if (err == STOA_E_TIMEOUT) { (void)fprintf(stderr, "nothing answers at %s\n", options->endpoint); }
    if (err == STOA_E_DENIED) {
        (void)fprintf(stderr, "the node does not know this key, or server.pub is another node's\n");
    }
    return err;
}

static void print_entry(const room_entry *entry)
{
    printf("%" PRIu64 " %.*s: %.*s\n", entry->seq, STOA_TEXT_ARGS(&entry->author), STOA_TEXT_ARGS(&entry->text));
}

static void on_item(void *context, const stoa_client_item *item)
{
    (void)context;
    if (item->cls == STOA_CLIENT_ITEM_MESSAGE) { print_entry(&item->as.message->entry); }
    if (item->cls == STOA_CLIENT_GAP) {
        printf("(%" PRIu64 " to %" PRIu64 " are lost)\n", item->from_seq, item->to_seq);
    }
}

static stoa_err enter(stoa_client *client, const char *room)
{
    static room_page page; /* 17 kB */
    uint64_t stream;
    stoa_err err = stoa_client_join(client, room, STOA_CLIENT_S(5), NULL);
    if (!err) { err = stoa_client_history(client, room, 0, 16, STOA_CLIENT_S(5), &page, NULL); }
    for (uint32_t i = 0; i < page.entries.count && !err; i++) {
        print_entry(&page.entries.at[i]);
    }
    if (err) { return err; }
    return stoa_client_subscribe(client, STOA_CLIENT_STREAM_ROOM, room, page.last, on_item, NULL, STOA_CLIENT_S(5),
                                 &stream);
}

/* The post's id only has to be new: the time will do. The library repeats it with the same id. */
static stoa_err say(stoa_client *client, const char *room, char *line)
{
    struct timespec now;
    room_posted posted;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    line[strcspn(line, "\n")] = '\0';
    if (!line[0]) { return STOA_OK; }
    uint64_t id = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
    return stoa_client_post(client, room, id, line, STOA_CLIENT_S(5), &posted, NULL);
}

int main(int argc, char **argv)
{
    char line[1024];
    stoa_client *client = NULL;
    if (argc != 5) {
        (void)fprintf(stderr, "usage: %s ENDPOINT SERVER.pub KEY ROOM\n", argv[0]);
        return 2;
    }
    (void)setvbuf(stdin, NULL, _IONBF, 0); /* so that poll sees every line */
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    stoa_client_options options = {.endpoint = argv[1], .server_key = argv[2], .key = argv[3], .name = "sdk_room"};
    stoa_err err = connect_to(&options, &client);
    if (!err) { err = enter(client, argv[4]); }
    for (bool talking = true; talking && !err;) {
        struct pollfd at[] = {{.fd = stoa_client_fd(client), .events = POLLIN}, {.fd = 0, .events = POLLIN}};
        (void)poll(at, 2, -1);
        (void)stoa_client_poll(client, 0);
        talking = !at[1].revents || fgets(line, sizeof line, stdin);
        if (at[1].revents && talking) { err = say(client, argv[4], line); }
    }
    while (!err && stoa_client_poll(client, STOA_CLIENT_MS(200)) == STOA_OK) {}
    if (err) { explain(client, err); }
    stoa_client_close(client);
    return err ? 1 : 0;
}
