/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* SubmitJob over the bus: a number of clients, each a connection of its own with a number of calls under
 * way, and how many of them a second are answered, which is when the job is durable. Perhaps with a
 * subscriber, which reads all that it is told. */

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "bench/measure.h"
#include "bench/options.h"

#define BUS_NAME "org.workermesh.Mesh1"
#define MANAGER_PATH "/org/workermesh/Mesh1"
#define MANAGER_INTERFACE "org.workermesh.Mesh1.Manager"
#define CLIENTS_MAX 64u
#define WINDOW_MAX 256u
#define ANSWER_WAIT_USEC (30 * UINT64_C(1000000))
#define SUBSCRIBER_WAIT_USEC (200 * UINT64_C(1000)) /* nothing for so long after the end: that was all */

struct call {
        struct load *load;
        sd_bus *bus;
        uint64_t begin_nsec;
};

struct load {
        const char *command;
        sd_event *event;
        struct samples *samples;
        unsigned n_to_send;
        unsigned n_clients, window;
        sd_bus *buses[CLIENTS_MAX];
        struct call calls[CLIENTS_MAX][WINDOW_MAX];
};

static int on_answer(sd_bus_message *reply, void *userdata, sd_bus_error *error);

static int call_send(struct call *call) {
        struct load *load = call->load;
        sd_bus_message *message = NULL;
        int r;

        if (load->n_to_send == 0)
                return 0;
        load->n_to_send--;
        call->begin_nsec = monotonic_nsec();
        r = sd_bus_message_new_method_call(
                call->bus, &message, BUS_NAME, MANAGER_PATH, MANAGER_INTERFACE, "SubmitJob");
        if (r >= 0)
                r = sd_bus_message_append(message, "sa{sv}", load->command, 0);
        if (r >= 0)
                r = sd_bus_call_async(call->bus, NULL, message, on_answer, call, ANSWER_WAIT_USEC);
        sd_bus_message_unref(message);
        return r;
}

static int on_answer(sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        struct call *call = userdata;
        struct load *load = call->load;
        const sd_bus_error *refusal = sd_bus_message_get_error(reply);
        int r = 0;

        if (refusal) {
                fprintf(stderr, "SubmitJob: %s: %s\n", refusal->name, refusal->message);
                r = -EPROTO;
        } else {
                samples_add(load->samples, monotonic_nsec() - call->begin_nsec);
                r = call_send(call);
        }
        if (r < 0 || load->samples->n == load->samples->n_allocated)
                return sd_event_exit(load->event, r);
        return 0;
}

static int load_connect(struct load *load) {
        int r;

        for (unsigned i = 0; i < load->n_clients; i++) {
                r = sd_bus_open_system(&load->buses[i]);
                if (r < 0)
                        return r;
                r = sd_bus_attach_event(load->buses[i], load->event, SD_EVENT_PRIORITY_NORMAL);
                if (r < 0)
                        return r;
                for (unsigned k = 0; k < load->window; k++)
                        load->calls[i][k] = (struct call){ .load = load, .bus = load->buses[i] };
        }
        return 0;
}

static int load_run(struct load *load) {
        uint64_t begin_nsec = monotonic_nsec();
        int r;

        for (unsigned k = 0; k < load->window; k++)
                for (unsigned i = 0; i < load->n_clients; i++) {
                        r = call_send(&load->calls[i][k]);
                        if (r < 0)
                                return r;
                }
        r = sd_event_loop(load->event);
        if (r < 0)
                return r;
        rate_print(load->samples->n, monotonic_nsec() - begin_nsec);
        samples_print(load->samples);
        return 0;
}

static void load_done(struct load *load) {
        for (unsigned i = 0; i < load->n_clients; i++)
                sd_bus_flush_close_unref(load->buses[i]);
        sd_event_unref(load->event);
        free(load->samples);
}

/* The other end of the signals: a thread, with a connection that nobody else touches. */
struct subscriber {
        pthread_t thread;
        sem_t subscribed;
        int error; /* valid once subscribed is posted */
        atomic_bool over;
        uint64_t n_signals;
};

static int on_signal(sd_bus_message *signal, void *userdata, sd_bus_error *error) {
        struct subscriber *subscriber = userdata;

        subscriber->n_signals++;
        return 0;
}

static int subscribe(struct subscriber *subscriber, sd_bus **ret) {
        int r;

        r = sd_bus_open_system(ret);
        if (r >= 0)
                r = sd_bus_match_signal(
                        *ret, NULL, BUS_NAME, NULL, MANAGER_INTERFACE, NULL, on_signal, subscriber);
        if (r >= 0)
                r = sd_bus_call_method(
                        *ret, BUS_NAME, MANAGER_PATH, MANAGER_INTERFACE, "Subscribe", NULL, NULL, NULL);
        return r;
}

static void *subscriber_run(void *userdata) {
        struct subscriber *subscriber = userdata;
        sd_bus *bus = NULL;
        int r;

        r = subscriber->error = subscribe(subscriber, &bus);
        (void) sem_post(&subscriber->subscribed);
        while (r >= 0) {
                r = sd_bus_process(bus, NULL);
                if (r != 0)
                        continue;
                r = sd_bus_wait(bus, SUBSCRIBER_WAIT_USEC);
                if (r == 0 && atomic_load(&subscriber->over))
                        break;
        }
        sd_bus_flush_close_unref(bus);
        return NULL;
}

/* Returns when everything that happens will be told. */
static int subscriber_start(struct subscriber *subscriber) {
        int r;

        if (sem_init(&subscriber->subscribed, 0, 0) < 0)
                return -errno;
        r = pthread_create(&subscriber->thread, NULL, subscriber_run, subscriber);
        if (r != 0)
                return -r;
        while (sem_wait(&subscriber->subscribed) < 0)
                ;
        return subscriber->error;
}

static void subscriber_stop(struct subscriber *subscriber) {
        atomic_store(&subscriber->over, true);
        (void) pthread_join(subscriber->thread, NULL);
        (void) sem_destroy(&subscriber->subscribed);
        figure_print("signals", (double) subscriber->n_signals);
}

static int measure(struct load *load, struct subscriber *subscriber) {
        int r;

        r = samples_new(load->n_to_send, &load->samples);
        if (r >= 0)
                r = sd_event_new(&load->event);
        if (r >= 0)
                r = load_connect(load);
        if (r < 0)
                return r;
        if (!subscriber)
                return load_run(load);
        r = subscriber_start(subscriber);
        if (r < 0)
                return r;
        r = load_run(load);
        subscriber_stop(subscriber);
        return r;
}

int main(int argc, char *argv[]) {
        unsigned count = 1000;
        int subscribed = 0;
        static struct load load = { .command = "true", .n_clients = 1, .window = 1 };
        static struct subscriber subscriber;
        const struct bench_option options[] = {
                { "count", "How many jobs (1000).", 1, 10000000, &count, NULL, NULL },
                { "clients", "How many connections to the bus (1).", 1, CLIENTS_MAX, &load.n_clients, NULL,
                  NULL },
                { "window", "Calls of each that are under way (1).", 1, WINDOW_MAX, &load.window, NULL,
                  NULL },
                { "command", "What the shell runs (true).", 0, 0, NULL, &load.command, NULL },
                { "subscribed", "With a subscriber.", 0, 0, NULL, NULL, &subscribed },
        };
        int r;

        r = bench_options_parse(
                argc, argv, "Calls SubmitJob on the system bus, over and over.", options,
                ELEMENTSOF(options));
        if (r != 0)
                return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;

        load.n_to_send = count;
        r = measure(&load, subscribed ? &subscriber : NULL);
        load_done(&load);
        if (r < 0)
                fprintf(stderr, "Cannot submit: %s\n", strerror(-r));
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
