/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Who is there: peers, the questions that prove it, and a second node under our own name. */

#include "mesh/mesh.h"
#include "util/map.h"

/* What is left of so many in this second. */
struct second_budget {
        usec_t second;
        unsigned left;
};

/* A nonce that somebody is to echo. */
struct question {
        uint8_t nonce[NONCE_SIZE];
        bool asked;
        usec_t asked_usec;
};

/* What claims to be a later life of a verified peer, and has not proven it yet. */
struct renewal {
        uint64_t incarnation, instance;
        struct sockaddr_in address;
        struct question question;
        bool asks; /* it said hello, with this nonce */
        uint8_t nonce[NONCE_SIZE];
};

struct peer {
        struct map_link by_id;
        struct mesh_peer public;
        struct question question;
        struct renewal renewal;
        bool answer_wanted; /* it said hello; we answer at answer_at_usec */
        usec_t answer_at_usec;
        uint8_t answer_echo[NONCE_SIZE];
        struct question move; /* it seems to have another address: it is asked there */
        struct sockaddr_in move_address;
        usec_t here_usec;  /* when something came from its address last */
        bool doubted;      /* that it is gone: see suspicion_doubt() */
        unsigned n_probes; /* since it was last heard */
        usec_t probe_due;
        usec_t stored_usec; /* when it was last written to the store; 0: never */
};

/* Who cannot show that it belongs to the mesh. */
struct stranger {
        struct map_link by_id;
        struct mesh_peer public;
};

#define STRANGERS_MAX 64u
/* For so long after it was sent a hello is answered. What comes later may be a recording. */
#define HELLO_ANSWER_USEC (2 * USEC_PER_SEC)
#define SUSPICION_PROBES 6u
#define SUSPICION_MORE 3u                          /* where there is doubt */
#define SUSPICION_PROBE_USEC (500 * USEC_PER_MSEC) /* from one to the next */
#define SUSPICION_WAIT_USEC USEC_PER_SEC           /* after the last one */
#define ANSWER_JITTER_USEC (50 * USEC_PER_MSEC)
#define PROBES_PER_SEC 200u
#define PROBE_AGAIN_USEC (2 * USEC_PER_SEC)
#define RENEWAL_WAIT_USEC \
        (500 * USEC_PER_MSEC) /* before another claim takes the place of one without an answer */
#define PEER_STORE_INTERVAL_USEC USEC_PER_MINUTE
#define PEER_STORE_CHANGE_USEC (5 * USEC_PER_SEC)
#define PEER_INTERVAL_MAX_USEC                                                     \
        (5 * USEC_PER_MINUTE) /* an announced heartbeat interval counts up to this \
                               */
/* When the timer runs this late the node was paused, and judges nobody until it has listened again. */
#define PAUSE_USEC USEC_PER_SEC
/* After such a pause: in this time who was waiting for us has heard that we are back, and said what it gave
 * up. */
#define AWAKE_USEC (2 * USEC_PER_SEC)

/* Another process with this node's id. */
struct rival {
        uint64_t instance;
        usec_t uptime_usec, uptime_heard_usec; /* what it said of itself, and when */
        struct question question;
        usec_t last_proven_usec;
        bool elder; /* it was there before us: we stop taking work */
        usec_t answered_usec;
        bool reported;
};

/* It is answered this often at most: its questions may be recordings of our own. */
#define RIVAL_ANSWER_USEC (250 * USEC_PER_MSEC)

#define DEPARTED_MAX 16u
/* Datagrams overtake each other, if only since they come through two sockets. */
#define DEPARTED_USEC (5 * USEC_PER_SEC)

/* The last word of a peer that said goodbye: what it said before may come later. */
struct departed {
        uint64_t incarnation, instance, sequence;
        usec_t until_usec;
};

/* peers.c */
void peers_check(struct mesh *mesh);
struct peer *peer_find(struct mesh *mesh, const char *node_id);
bool peer_is_here(struct mesh *mesh, const char *node_id);
void peer_heard_on_link(struct mesh *mesh, const char *node_id);
struct peer *peer_free(struct mesh *mesh, struct peer *peer);
/* What a node says of itself; its address is known. */
void peer_take_info(struct mesh_peer *peer, const struct node_info *info);

/* strangers.c */
void strangers_heard(
        struct mesh *mesh, const struct mesh_message *message, const struct sockaddr_in *source);
void strangers_remove(struct mesh *mesh, const char *node_id);
usec_t strangers_check(struct mesh *mesh);
const struct mesh_peer *strangers_get(const struct mesh *mesh, const char *node_id);
void strangers_foreach(
        struct mesh *mesh, void (*function)(void *userdata, const struct mesh_peer *peer), void *userdata);
void strangers_free(struct mesh *mesh);

/* suspicion.c */
usec_t suspicion_check(struct mesh *mesh, struct peer *peer);
void suspicion_heard(struct mesh *mesh, struct peer *peer);
void suspicion_doubt(struct mesh *mesh, struct peer *peer);

/* questions.c */
/* Asks a peer that has proven to be there before whether it still is. */
void question_probe(struct mesh *mesh, struct peer *peer);
/* Asks now, unless that was done a moment ago; datagram_size is that of the message that gave rise to it. */
void question_ask(
        struct mesh *mesh, struct question *question, const struct sockaddr_in *address,
        size_t datagram_size);
bool question_is_answered(const struct question *question, const struct mesh_message *message);
void question_address(
        const struct mesh_message *message, const struct sockaddr_in *source, struct sockaddr_in *ret);
void question_acknowledge(
        struct mesh *mesh, uint64_t known_incarnation, const struct mesh_message *question,
        const struct sockaddr_in *address, size_t datagram_size);
void question_answer(
        struct mesh *mesh, struct peer *peer, const struct mesh_message *message, size_t datagram_size);
void question_answer_later(struct mesh *mesh, struct peer *peer, const uint8_t nonce[static NONCE_SIZE]);
void questions_send_answers(struct mesh *mesh);

/* rival.c */
void rival_heard(
        struct mesh *mesh, const struct mesh_message *message, const struct sockaddr_in *source,
        size_t datagram_size);
void rival_check(struct mesh *mesh);

/* heartbeat.c */
void heartbeat_fill(struct mesh *mesh, enum message_type type, struct mesh_message *ret);
void heartbeat_send(struct mesh *mesh);
void hello_begin(struct mesh *mesh, unsigned times);
void hello_send(struct mesh *mesh);
