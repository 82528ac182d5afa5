/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Runs a fuzz target without a fuzzer: over every file of a corpus, over all its beginnings, and over copies
 * of it with one byte changed, the same ones each time. What a fuzzer once found stays found that way. */

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define INPUT_MAX (1024 * 1024) /* bytes of one file */
#define MUTATIONS_PER_FILE 4000u
#define SECONDS_PER_TARGET 4 /* what is left after that is left out, and said */
#define SECONDS_PER_INPUT 10 /* longer is a failure */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is being run, for the last words of a target that fails. */
static char current[4096 + 128];
static size_t n_inputs;

static void tell_current(void) {
        ssize_t n = write(STDERR_FILENO, current, strlen(current));
        (void) n;
}

static void on_fatal_signal(int number) {
        tell_current();
        signal(number, SIG_DFL);
        raise(number);
}

/* The sanitizers end the process on their own way. */
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((__weak__));

static void catch_failures(void) {
        signal(SIGABRT, on_fatal_signal);
        signal(SIGALRM, on_fatal_signal);
        if (__sanitizer_set_death_callback)
                __sanitizer_set_death_callback(tell_current);
        else
                signal(SIGSEGV, on_fatal_signal);
}

static double seconds_now(void) {
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        return (double) now.tv_sec + (double) now.tv_nsec / 1e9;
}

/* A block of exactly this size, so that a sanitizer sees one byte read beyond. */
static void run_input(const uint8_t *data, size_t size) {
        uint8_t *copy = malloc(size > 0 ? size : 1);

        if (!copy)
                abort();
        memcpy(copy, data, size);
        (void) alarm(SECONDS_PER_INPUT);
        LLVMFuzzerTestOneInput(copy, size);
        free(copy);
        n_inputs++;
}

/* xorshift64*: the same numbers on every machine. */
static uint64_t next_random(uint64_t *state) {
        *state ^= *state >> 12;
        *state ^= *state << 25;
        *state ^= *state >> 27;
        return *state * UINT64_C(2685821657736338717);
}

/* Every beginning of a short file; of a long one a sample. */
static void run_beginnings(const char *path, const uint8_t *data, size_t size, double deadline) {
        size_t step = size / MUTATIONS_PER_FILE + 1;

        for (size_t i = 0; i < size && seconds_now() < deadline; i += step) {
                snprintf(current, sizeof(current), "Failed with the first %zu bytes of %s.\n", i, path);
                run_input(data, i);
        }
}

static void run_mutations(const char *path, uint8_t *data, size_t size, double deadline) {
        uint64_t state = UINT64_C(0x9e3779b97f4a7c15);

        for (unsigned i = 0; size > 0 && i < MUTATIONS_PER_FILE && seconds_now() < deadline; i++) {
                size_t position = next_random(&state) % size;
                uint8_t before = data[position];
                /* Never the same value, and single bits as often as anything. */
                uint8_t change = i % 2 == 0 ? (uint8_t) (1u << next_random(&state) % 8)
                                            : (uint8_t) (1 + next_random(&state) % 255);

                data[position] = before ^ change;
                snprintf(
                        current, sizeof(current),
                        "Failed with %s, byte %zu changed from 0x%02x to 0x%02x.\n", path, position, before,
                        data[position]);
                run_input(data, size);
                data[position] = before;
        }
}

static uint8_t *read_input(const char *path, size_t *ret_size) {
        uint8_t *data = malloc(INPUT_MAX);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t n = fd < 0 || !data ? -1 : 0;
        size_t size = 0;

        while (n >= 0 && size < INPUT_MAX) {
                n = read(fd, data + size, INPUT_MAX - size);
                if (n == 0)
                        break;
                size += n > 0 ? (size_t) n : 0;
        }
        if (n < 0 || size == INPUT_MAX) {
                fprintf(stderr, "%s: cannot be read, or too large.\n", path);
                exit(EXIT_FAILURE);
        }
        close(fd);
        *ret_size = size;
        return data;
}

static void run_file(const char *path, double deadline) {
        size_t size;
        uint8_t *data = read_input(path, &size);

        /* The file itself is run however late it is. */
        snprintf(current, sizeof(current), "Failed with %s.\n", path);
        run_input(data, size);
        run_beginnings(path, data, size, deadline);
        run_mutations(path, data, size, deadline);
        free(data);
}

static int is_visible(const struct dirent *entry) {
        return entry->d_name[0] != '.';
}

int main(int argc, char *argv[]) {
        struct dirent **entries;
        char path[4096];

        if (argc != 2) {
                fprintf(stderr, "Usage: %s CORPUS-FOLDER\n", argv[0]);
                return 2;
        }
        int n = scandir(argv[1], &entries, is_visible, alphasort);
        if (n <= 0) {
                fprintf(stderr, "%s: no inputs there.\n", argv[1]);
                return EXIT_FAILURE;
        }

        catch_failures();
        double start = seconds_now();
        for (int i = 0; i < n; i++) {
                /* Each file gets its share of the time that is left. */
                double now = seconds_now(), left = start + SECONDS_PER_TARGET - now;
                snprintf(path, sizeof(path), "%s/%s", argv[1], entries[i]->d_name);
                run_file(path, now + left / (n - i));
                free(entries[i]);
        }
        free(entries);
        printf("%zu inputs from %d files in %.1f s\n", n_inputs, n, seconds_now() - start);
        return EXIT_SUCCESS;
}
