/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the parts of the links share: link.c moves the bytes of one connection, links.c keeps the table of
 * them, links-greet.c decides which connection stays, links-time.c ends what takes too long. */

#include "net/link-queue.h"
#include "net/link-stream.h"
#include "net/links.h"
#include "trust/keys.h"
#include "util/buffer.h"
#include "util/list.h"
#include "util/log.h"
#include "util/map.h"
#include "wire/types.h"

#define LINK_HELLO_FRAME_MAX (4u * 1024) /* before a hello nobody may send more */
/* How long the node with the higher id waits for the link of the other, after that has closed its own. */
#define LINK_YIELD_USEC (1 * USEC_PER_SEC)

/* The named limits, which tests set to what they can wait for. */
struct links_limits {
        size_t links_max, strangers_max;
        usec_t handshake_usec, idle_usec, stall_usec, yield_usec;
        size_t queue_max, queue_low;
        unsigned frames_per_turn;
};

enum link_state {
        LINK_CONNECTING, /* opened by us, nothing was said; the other may prefer its own without asking */
        LINK_GREETING,   /* opened by us, our hello is said */
        LINK_FAILED,   /* opened by us, without a socket; told at its deadline, unless the other opens one */
        LINK_STRANGER, /* accepted, nothing was said */
        LINK_UP,       /* both have said hello */
        LINK_CLOSED,   /* to be freed once nobody looks at it any more */
};

struct link {
        struct links *links;
        enum link_state state;
        char node_id[NODE_ID_MAX + 1]; /* empty: not known yet */
        struct map_link by_node;       /* CONNECTING, GREETING, FAILED, UP: one a node */
        struct list_link place;        /* in the list of its state */
        struct list_link turn_place, flush_place;

        struct link_stream stream;
        sd_event_source *source;
        uint32_t events;
        bool established; /* the handshake of the stream is over, and it is not closed */
        struct buffer in;
        struct link_queue out;
        bool was_full; /* writable is to be told */

        usec_t deadline; /* until it is up */
        usec_t used_at;  /* the last message in either direction */
        usec_t taken_at; /* when bytes were last taken, or began to wait */
        int error;       /* FAILED: what to tell */

        /* Of the other's hello. */
        uint64_t incarnation, instance, ordinal;
};

struct links {
        char *node_id, *version;
        uint64_t incarnation, instance;
        uint64_t ordinal;                /* of our last hello */
        const struct mesh_keys *keys;    /* NULL: there are none */
        struct invitations *invitations; /* likewise */
        struct links_limits limits;
        struct links_handlers handlers;
        struct links_counters counters;
        sd_event *event;

        struct map by_node;
        struct list opening;   /* CONNECTING, GREETING, FAILED */
        struct list strangers; /* the oldest first */
        struct list up;        /* the longest idle first */
        struct list closed;
        size_t n_strangers, n_up;

        struct list turns;   /* have more to do than one turn allows */
        struct list flushes; /* have something to write */
        sd_event_source *turn_source;

        sd_event_source *timer_source;
        usec_t timer_at; /* USEC_INFINITY: not armed */

        int listen_fd;
        sd_event_source *listen_source;
        usec_t listen_again_at; /* 0: it listens */
        struct ratelimit listen_warnings, refusal_lines;
};

static inline usec_t links_now(const struct links *links) {
        usec_t now;

        return sd_event_now(links->event, CLOCK_BOOTTIME, &now) < 0 ? now_usec(CLOCK_BOOTTIME) : now;
}

struct links_limits *links_limits(struct links *links); /* for tests */

/* link.c */
int link_new(struct links *links, enum link_state state, struct link **ret);
struct link *link_free(struct link *link);
/* Takes the descriptor, and follows it. */
int link_attach(struct link *link, int fd);
/* Without a socket, and with nothing to do. */
void link_detach(struct link *link);
/* Reads and hands on what one turn allows. The link may be closed afterwards. */
void link_take_turn(struct link *link);
void link_flush(struct link *link);
int link_send(struct link *link, const struct link_message *message);

/* links.c */
struct link *links_find(const struct links *links, const char *node_id);
/* Something is to be done when the loop comes round. */
void links_wake(struct links *links);
void links_enter(struct link *link, enum link_state state); /* and its list */
void links_touch(struct link *link, usec_t now);
/* Nobody is told. The object stays until the loop comes round. */
void links_drop(struct link *link);
/* The connection has ended by this error; 0: in order. Tells whom it may concern. */
void links_end(struct link *link, int error);
/* As links_end(), for what the other has done wrong. */
void links_refuse(struct link *link, int error, const char *why);

/* links-greet.c */
int links_say_hello(struct link *link);
void links_greet(struct link *link, const struct link_hello *hello);

/* links-admit.c */
bool links_find_invitation(
        const struct link *link, const char *name, uint8_t ret_secret[static TLS_SECRET_SIZE]);
/* The key of its handshake is still one that is accepted. */
bool links_key_counts(const struct link *link);
/* Where the handshake was over an invitation, the keys are handed over and the link is closed. Whether it
 * was. */
bool links_admit(struct link *link);

/* links-accept.c */
void links_prepare_socket(const struct links *links, int fd);
int links_listen(struct links *links, int fd);
void links_listen_again(struct links *links, usec_t now);

/* links-time.c */
int links_time_init(struct links *links);
void links_wake_at(struct links *links, usec_t at);
