/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "trust/tls.h"

#include <gnutls/gnutls.h>

/* Pre-shared keys go with SHA-256 here, and so do these ciphers. Signatures are never made; the library
 * wants some named. Nothing is resumed: links are kept. */
#define PRIORITY                                                                        \
        "NONE:+VERS-TLS1.3:+AES-128-GCM:+CHACHA20-POLY1305:+AEAD:+ECDHE-PSK:+SIGN-ALL:" \
        "+GROUP-X25519:+GROUP-SECP256R1"

struct tls {
        gnutls_session_t session;
        gnutls_psk_client_credentials_t opener;
        gnutls_psk_server_credentials_t listener;
        tls_lookup_t lookup;
        void *userdata;
        char name[TLS_NAME_MAX + 1]; /* of the last key that was found */
        bool established;
        bool ended; /* by outcome, what is read from now on */
        int outcome;
};

/* Called from within the handshake of whoever was asked. */
static int on_name(gnutls_session_t session, const char *name, gnutls_datum_t *ret_key) {
        struct tls *tls = gnutls_session_get_ptr(session);

        if (strlen(name) > TLS_NAME_MAX)
                return -1;
        ret_key->data = gnutls_malloc(TLS_SECRET_SIZE);
        if (!ret_key->data)
                return -1;
        ret_key->size = TLS_SECRET_SIZE;
        if (tls->lookup(tls->userdata, name, ret_key->data)) {
                strcpy(tls->name, name);
                return 0;
        }
        gnutls_free(ret_key->data);
        ret_key->data = NULL;
        return -1;
}

static int begin_opener(struct tls *tls, const char *name, const uint8_t secret[static TLS_SECRET_SIZE]) {
        const gnutls_datum_t key = { (unsigned char *) secret, TLS_SECRET_SIZE };
        int r;

        r = gnutls_psk_allocate_client_credentials(&tls->opener);
        if (r < 0)
                return r;
        r = gnutls_psk_set_client_credentials(tls->opener, name, &key, GNUTLS_PSK_KEY_RAW);
        if (r < 0)
                return r;
        strcpy(tls->name, name);
        return gnutls_credentials_set(tls->session, GNUTLS_CRD_PSK, tls->opener);
}

static int begin_listener(struct tls *tls, tls_lookup_t lookup, void *userdata) {
        int r;

        tls->lookup = lookup;
        tls->userdata = userdata;
        r = gnutls_psk_allocate_server_credentials(&tls->listener);
        if (r < 0)
                return r;
        gnutls_psk_set_server_credentials_function(tls->listener, on_name);
        return gnutls_credentials_set(tls->session, GNUTLS_CRD_PSK, tls->listener);
}

static int begin_session(struct tls *tls, unsigned side, int fd) {
        int r;

        r = gnutls_init(&tls->session, side | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL | GNUTLS_NO_TICKETS);
        if (r < 0)
                return r;
        gnutls_session_set_ptr(tls->session, tls);
        gnutls_transport_set_int(tls->session, fd);
        gnutls_handshake_set_timeout(tls->session, GNUTLS_INDEFINITE_TIMEOUT); /* the caller's business */
        return gnutls_priority_set_direct(tls->session, PRIORITY, NULL);
}

/* r: of the library. */
static int finish(struct tls *session, int r, struct tls **ret) {
        _cleanup_(tls_free_p) struct tls *tls = session;

        if (r < 0)
                return r == GNUTLS_E_MEMORY_ERROR ? -ENOMEM : -EIO;
        *ret = TAKE_PTR(tls);
        return 0;
}

int tls_new_opener(
        const char *name, const uint8_t secret[static TLS_SECRET_SIZE], int fd, struct tls **ret) {
        struct tls *tls = calloc(1, sizeof(*tls));

        assert(strlen(name) <= TLS_NAME_MAX);
        if (!tls)
                return -ENOMEM;
        int r = begin_session(tls, GNUTLS_CLIENT, fd);
        if (r >= 0)
                r = begin_opener(tls, name, secret);
        return finish(tls, r, ret);
}

int tls_new_listener(tls_lookup_t lookup, void *userdata, int fd, struct tls **ret) {
        struct tls *tls = calloc(1, sizeof(*tls));

        if (!tls)
                return -ENOMEM;
        int r = begin_session(tls, GNUTLS_SERVER, fd);
        if (r >= 0)
                r = begin_listener(tls, lookup, userdata);
        return finish(tls, r, ret);
}

struct tls *tls_free(struct tls *tls) {
        if (!tls)
                return NULL;
        if (tls->session)
                gnutls_deinit(tls->session);
        if (tls->opener)
                gnutls_psk_free_client_credentials(tls->opener);
        if (tls->listener)
                gnutls_psk_free_server_credentials(tls->listener);
        free(tls);
        return NULL;
}

static int error_of(const struct tls *tls, ssize_t error) {
        switch (error) {
        case GNUTLS_E_AGAIN:
        case GNUTLS_E_INTERRUPTED:
                return -EAGAIN;
        case GNUTLS_E_MEMORY_ERROR:
                return -ENOMEM;
        case GNUTLS_E_PUSH_ERROR:
        case GNUTLS_E_PULL_ERROR:
        case GNUTLS_E_PREMATURE_TERMINATION:
                return -ECONNRESET;
        default:
                return tls->established ? -EBADMSG : -EPROTO;
        }
}

/* What a missing key looks like: on this side, or by what the other end says of it. */
static bool is_about_keys(int error, gnutls_alert_description_t alert) {
        if (error == GNUTLS_E_FATAL_ALERT_RECEIVED)
                return alert == GNUTLS_A_UNKNOWN_PSK_IDENTITY || alert == GNUTLS_A_DECRYPT_ERROR;
        return error == GNUTLS_E_KEYFILE_ERROR || error == GNUTLS_E_RECEIVED_ILLEGAL_PARAMETER ||
               error == GNUTLS_E_INSUFFICIENT_CREDENTIALS || error == GNUTLS_E_NO_CIPHER_SUITES;
}

/* That it does not know a name, and that it knows another key by it, is the same to whoever asks. */
static int tell_failure(struct tls *tls, int error) {
        if (error == GNUTLS_E_FATAL_ALERT_RECEIVED)
                return is_about_keys(error, gnutls_alert_get(tls->session)) ? -EKEYREJECTED : -EPROTO;
        if (!is_about_keys(error, 0)) {
                (void) gnutls_alert_send_appropriate(tls->session, error);
                return error_of(tls, error);
        }
        (void) gnutls_alert_send(tls->session, GNUTLS_AL_FATAL, GNUTLS_A_UNKNOWN_PSK_IDENTITY);
        return -EKEYREJECTED;
}

int tls_handshake(struct tls *tls) {
        int r;

        do
                r = gnutls_handshake(tls->session);
        while (r < 0 && r != GNUTLS_E_AGAIN && gnutls_error_is_fatal(r) == 0);
        if (r == GNUTLS_E_AGAIN)
                return -EAGAIN;
        if (r < 0)
                return tell_failure(tls, r);
        tls->established = true;
        return 0;
}

const char *tls_name(const struct tls *tls) {
        return tls->established ? tls->name : "";
}

bool tls_wants_write(const struct tls *tls) {
        return gnutls_record_get_direction(tls->session) == 1;
}

ssize_t tls_read(struct tls *tls, void *data, size_t size) {
        uint8_t *position = data;
        size_t taken = 0;

        /* One record at a time: what the library has buffered, the loop does not tell of. After an end it
         * would say something else. */
        while (taken < size && !tls->ended) {
                ssize_t n = gnutls_record_recv(tls->session, position + taken, size - taken);
                int r = n < 0 ? error_of(tls, n) : 0;

                if (r == -EAGAIN)
                        return taken > 0 ? (ssize_t) taken : -EAGAIN;
                tls->ended = n <= 0;
                tls->outcome = r;
                taken += n > 0 ? (size_t) n : 0;
        }
        return taken > 0 ? (ssize_t) taken : tls->outcome;
}

bool tls_pending(const struct tls *tls) {
        return tls->ended || gnutls_record_check_pending(tls->session) > 0;
}

ssize_t tls_write(struct tls *tls, const void *data, size_t size) {
        ssize_t n = gnutls_record_send(tls->session, data, size);

        return n < 0 ? error_of(tls, n) : n;
}

void tls_say_goodbye(struct tls *tls) {
        if (tls->established)
                (void) gnutls_bye(tls->session, GNUTLS_SHUT_WR);
}
