/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The file of the mesh's keys. Blocks; for the start, and for what a person asks for. */

#include "trust/keys.h"

enum key_file_kind {
        KEY_FILE_OWN,        /* ours: made where there is none, replaced when keys change */
        KEY_FILE_CREDENTIAL, /* a credential of systemd(1): the service manager says who may read it */
};

/* -ENOENT: there is none. On failure *ret_problem, where there is one, is a sentence for a person (owned by
 * the caller), and *ret is erased. -EBADMSG: it is no key file. -EPERM: others may read it. */
int key_file_read(const char *path, enum key_file_kind kind, struct mesh_keys *ret, char **ret_problem);

/* As key_file_read() of our own; where there is none it is made, with mode 0600, so that of several that
 * start at once one wins and all have the same. The folder is there. *ret_made: it was us. */
int key_file_read_or_make(const char *path, struct mesh_keys *ret, bool *ret_made, char **ret_problem);

/* Afterwards either the old or the new content is there, with mode 0600. */
int key_file_replace(const char *path, const struct mesh_keys *keys);
