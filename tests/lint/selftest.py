#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Each check of this folder accepts a good tree and refuses each bad one. A check that cannot fail proves nothing."""

import os
import shutil
import subprocess
import sys
import tempfile

import files

LICENCE = "/* SPDX-License-Identifier: LGPL-2.1-or-later */\n"

GOOD = {
    ".clang-format": None,  # the real one
    "src/main.c": LICENCE + '#include "node/node.h"\n',
    "src/node/node.h": LICENCE + '#include "api/rest/rest.h"\n#include "executor/client.h"\n',
    "src/api/ops.h": LICENCE + '#include "store/store.h"\n',
    "src/api/rest/rest.h": LICENCE + '#include "api/ops.h"\n',
    "src/api/rest/http.c": LICENCE + "#include <microhttpd.h>\n",
    "src/store/store.h": LICENCE + '#include "mesh/record.h"\n',
    "src/store/store.c": LICENCE + "#include <sqlite3.h>\n\nconst char *id = MESSAGE_GOOD;\n",
    "src/util/message-ids.h": LICENCE + f'\n#define MESSAGE_GOOD "{32 * "c"}"\n',
    "src/node/worker-mesh.catalog": f"# Texts\n\n-- {32 * 'c'}\nSubject: Good\n",
    "src/executor/client.h": LICENCE,
    "src/mesh/record.h": LICENCE + '#include "util/list.h"\n',
    "src/mesh/mesh.h": LICENCE + "#include <netinet/in.h>\n",
    "src/wire/codec.c": LICENCE + '#include "mesh.pb-c.h"\n',
    "src/util/list.h": LICENCE + "\nint list_length(void);\n",
    "script": '#!/bin/bash\nset -eu\necho "$1"\n',
    "tool.py": "# SPDX-License-Identifier: LGPL-2.1-or-later\nprint(1)\n",
}


def body(n_lines):
    return LICENCE + "int long_one(void) {\n" + "        (void) 0;\n" * (n_lines - 2) + "}\n"


# Check, file, its bad content, and a piece of what must be said about it.
BAD = [
    ("includes", "src/util/list.h", '#include "mesh/mesh.h"\n', "util may include only its own files"),
    ("includes", "src/wire/codec.c", '#include "mesh/mesh.h"\n', "wire may include only"),
    ("includes", "src/store/store.c", '#include "mesh/mesh.h"\n', "store may include only"),
    ("includes", "src/api/ops.h", '#include "api/rest/rest.h"\n', "api may include only"),
    ("includes", "src/main.c", '#include "store/store.h"\n', "main.c may include only"),
    ("includes", "src/store/store.c", '#include "store.h"\n', "write the folder too"),
    ("includes", "src/store/store.c", '#include "../store/store.h"\n', "write it from src/ on"),
    ("includes", "src/store/store.c", '#include "store/gone.h"\n', "there is no such file"),
    ("includes", "src/api/ops.h", "#include <sqlite3.h>\n", "only store/ may see it"),
    ("includes", "src/api/rest/rest.h", "#include <microhttpd.h>\n", "only api/rest/http.c may see it"),
    ("includes", "src/api/rest/http.c", "#include <json-c/json.h>\n", "only api/rest/json.c may see it"),
    ("includes", "src/mesh/mesh.h", '#include "mesh.pb-c.h"\n', "protobuf is seen by wire/ only"),
    ("includes", "src/mesh/mesh.h", "#include <systemd/sd-event.h>\n", "do no I/O"),
    ("includes", "src/attic/old.c", "\n", "belongs to no room"),
    ("format", "src/util/list.h", LICENCE + "int  list_length( void );\n", "clang-format"),
    ("size", "src/util/list.c", body(101), "long_one() has 101 lines"),
    ("size", "src/util/list.c", LICENCE + "\n" * 700, "701 lines"),
    ("catalog", "src/util/message-ids.h", '#define MESSAGE_A "00"\n', "MESSAGE_A is not 32"),
    ("catalog", "src/util/message-ids.h", f'#define MESSAGE_A "{32 * "a"}"\n', "MESSAGE_A is used nowhere"),
    ("catalog", "src/util/message-ids.h", f'#define MESSAGE_A "{32 * "a"}"\n', "no entry for MESSAGE_A"),
    ("catalog", "src/main.c", "log_event(LOG_ERR, MESSAGE_A,\n \"text\");\n", "MESSAGE_A is used and not defined"),
    ("catalog", "src/node/worker-mesh.catalog", f"\n-- {32 * 'b'}\nSubject: B\n", "is no event of"),
    ("catalog", "src/node/worker-mesh.catalog", "\n-- b\nSubject: @FIELD@\n", "has the field FIELD"),
    ("catalog", "src/node/worker-mesh.catalog", "# Texts\n\n-- b\n\nB\n", "does not begin with its id"),
    ("words", "src/util/list.c", LICENCE + "/* TO" "DO: later */\n", "finish it"),
    ("words", "script", "#!/bin/bash\ncd /wor" "k/main\n", "a path of one machine"),
    ("words", "src/util/list.c", "int list_length(void);\n", "begins without"),
    ("words", "src/util/list.c", LICENCE + "int list_length(void); \n", "blanks at the end"),
    ("words", "src/util/list.c", LICENCE + "int list_length(void);", "no newline"),
    ("words", "README.md", "Done \U0001f389\n", "a picture"),
    ("scripts", "tool.py", "print(1\n", "tool.py:1"),
    ("scripts", "script", '#!/bin/bash\nrm -r "$1"/*; cd $2\n', "SC"),
]


def write(root, path, content):
    target = os.path.join(root, path)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if content is None:
        shutil.copy(os.path.join(files.ROOT, path), target)
        return
    with open(target, "w", encoding="utf-8") as file:
        file.write(content)


def run(check, root):
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), check + ".py")
    result = subprocess.run([sys.executable, script, root], capture_output=True, text=True, check=False)
    return result.returncode, result.stdout + result.stderr


def try_sample(check, path, content, expected):
    """What is wrong with the check, or None."""
    with tempfile.TemporaryDirectory() as root:
        for name, text in GOOD.items():
            write(root, name, text)
        if path:
            write(root, path, content)
        status, output = run(check, root)
    if status == files.SKIPPED or (expected == "SC" and "not installed" in output):
        return None
    if not path:
        return None if status == 0 else f"{check}: refuses a good tree:\n{output}"
    if status == 0 or expected not in output:
        return f"{check}: {path}: expected to fail with {expected!r}; exit status {status}:\n{output}"
    return None


def main():
    samples = [(check, None, None, None) for check in ("includes", "format", "size", "words", "scripts", "catalog")]
    problems = [problem for sample in samples + BAD for problem in [try_sample(*sample)] if problem]
    print(f"{len(samples) + len(BAD)} samples, {len(problems)} problems")
    files.finish(problems)


if __name__ == "__main__":
    main()
