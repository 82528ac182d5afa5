/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "paper.h"

static usec_t on_now(void *userdata) {
        return ((struct paper *) userdata)->now;
}

static void on_random(void *userdata, void *buffer, size_t size) {
        struct paper *paper = userdata;

        for (size_t i = 0; i < size; i++) {
                paper->random_state =
                        paper->random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
                ((uint8_t *) buffer)[i] = (uint8_t) (paper->random_state >> 56);
        }
}

static void on_store(void *userdata, struct record_batch *batch) {
        list_append(&((struct paper *) userdata)->batches, &batch->link);
}

static int on_start(void *userdata, const struct run_id *run, const struct job_spec *spec) {
        struct paper *paper = userdata;

        ASSERT_FALSE(paper->running);
        paper->running = true;
        paper->run = *run;
        paper->n_starts++;
        return 0;
}

static void on_timer(void *userdata, usec_t at) {
        ((struct paper *) userdata)->timer_at = at;
}

static void on_finished(void *userdata, const struct job_spec *spec, enum job_status status) {
        ((struct paper *) userdata)->ended = status;
}

static void ignore_run(void *userdata, const struct run_id *run) {
}

static void ignore(void *userdata) {
}

static void ignore_broadcast(void *userdata, const struct mesh_message *message, bool pad) {
}

static void ignore_accepted(void *userdata, void *tag, int error, unsigned copies) {
}

static void
on_send(void *userdata, const struct sockaddr_in *address, const struct mesh_message *message, bool pad) {
        ((struct paper *) userdata)->asked = *message;
}

static void on_link_open(void *userdata, const char *node_id, const struct sockaddr_in *address) {
        ((struct paper *) userdata)->n_links_wanted++;
}

static int on_link_send(void *userdata, const char *node_id, const struct link_message *message) {
        struct paper *paper = userdata;

        paper->n_assigned += message->n_assignments;
        paper->n_kept += message->kept.term > 0 && !message->kept.refused;
        paper->n_forgotten += message->copies_forgotten > 0;
        return 0;
}

static void ignore_link(void *userdata, const char *node_id) {
}

static void ignore_peer(void *userdata, const struct mesh_peer *peer, bool gone) {
}

static void ignore_notice(void *userdata, int priority, const char *message_id, const char *text) {
}

static const struct mesh_ops ops = {
        .send = on_send,
        .link_open = on_link_open,
        .link_send = on_link_send,
        .link_close = ignore_link,
        .peer_changed = ignore_peer,
        .now = on_now,
        .now_realtime = on_now,
        .random = on_random,
        .set_timer = on_timer,
        .broadcast = ignore_broadcast,
        .store = on_store,
        .start = on_start,
        .kill = ignore_run,
        .withdraw = ignore_run,
        .release = ignore_run,
        .hurry = ignore,
        .accepted = ignore_accepted,
        .job_finished = on_finished,
        .status_changed = ignore,
        .notice = ignore_notice,
};

void paper_begin(struct paper *paper, unsigned slots, unsigned queue_max) {
        const struct mesh_config config = {
                .node_id = "node-a",
                .slots = slots,
                .queue_max = queue_max,
                .peers_max = 1000,
                .heartbeat_interval_usec = USEC_PER_MINUTE,
                .peer_timeout_usec = USEC_PER_MINUTE,
        };

        *paper = (struct paper){ .now = USEC_PER_SEC, .timer_at = USEC_INFINITY, .random_state = 1 };
        list_init(&paper->batches);
        ASSERT_OK(mesh_new(&config, &ops, paper, &paper->mesh));
        mesh_start(paper->mesh);
        mesh_executor_synchronised(paper->mesh, &(const struct uuid){ { 1 } }, NULL, 0);
}

void paper_end(struct paper *paper) {
        paper_write(paper);
        paper->mesh = mesh_free(paper->mesh);
}

void paper_write(struct paper *paper) {
        struct record_batch *batch;

        while ((batch = LIST_FIRST(&paper->batches, struct record_batch, link))) {
                list_remove(&batch->link);
                mesh_written(paper->mesh, batch, 0);
        }
}

void paper_pass(struct paper *paper, usec_t until) {
        while (paper->timer_at <= until) {
                paper->now = MAX(paper->now, paper->timer_at);
                mesh_timer_due(paper->mesh);
        }
        paper->now = until;
}

void paper_end_run(struct paper *paper, enum run_outcome outcome, int exit_code) {
        struct job_result *result;

        ASSERT_TRUE(paper->running);
        ASSERT_OK(job_result_new(&result));
        result->run = paper->run;
        result->outcome = outcome;
        result->exit_code = exit_code;
        result->started_at = outcome == RUN_NOT_STARTED ? 0 : paper->now;
        result->finished_at = paper->now;
        result->duration_usec = USEC_PER_SEC; /* too long for a place beyond the slots */
        paper->running = false;
        mesh_run_ended(paper->mesh, result);
}

static void name_peer(uint32_t number, char *ret, size_t size) {
        snprintf(ret, size, "peer-%" PRIu32, number);
}

void paper_add_peer(struct paper *paper, uint32_t number, unsigned slots) {
        const struct mesh_origin origin = {
                .address = { .sin_family = AF_INET, .sin_addr.s_addr = number },
                .size = PROBE_SIZE,
                .trusted = true,
        };
        struct mesh_message message = {
                .type = MESSAGE_HEARTBEAT,
                .incarnation = 1,
                .sequence = 1,
                .instance = number + 1,
                .has_node_info = true,
                .node_info = { .status = NODE_IDLE, .node_port = 9000, .slots = slots },
        };

        name_peer(number, message.sender_node_id, sizeof(message.sender_node_id));
        memcpy(message.node_info.node_id, message.sender_node_id, sizeof(message.node_info.node_id));
        mesh_received(paper->mesh, &message, &origin);
        message.sequence++;
        ASSERT_TRUE(paper->asked.has_nonce);
        message.has_echo = true;
        memcpy(message.echo, paper->asked.nonce, sizeof(message.echo));
        mesh_received(paper->mesh, &message, &origin);
        ASSERT_TRUE(mesh_get_peer(paper->mesh, message.sender_node_id)->verified);
}

void paper_link_peer(struct paper *paper, uint32_t number) {
        const struct link_hello hello = {};
        char name[NODE_ID_MAX + 1];

        name_peer(number, name, sizeof(name));
        ASSERT_OK(mesh_link_up(paper->mesh, name, &hello));
        mesh_link_received(paper->mesh, name, &(const struct link_message){ .held_complete = true });
}

struct job_spec *paper_spec(uint32_t number) {
        const struct job_request request = { .command = "1", .command_size = 1 };
        struct job_spec *spec;

        ASSERT_OK(job_spec_new(&request, &spec));
        memcpy(&spec->id, &number, sizeof(number));
        return spec;
}
