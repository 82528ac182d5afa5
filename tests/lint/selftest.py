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

SETTING = """\
        [SETTING_SLOTS] = {
                "Slots", "SLOTS", "slots", "N", "jobs at once",
                .value = "4", .reloads = true,
        },
"""
TABLE = LICENCE + "/* clang-format off */\nconst struct setting settings[_SETTING_MAX] = {\n%s};\n/* clang-format on */\n"
EXECUTOR = LICENCE + """\
enum {
        EXIT_USAGE = 2
};
static const struct option options[] = {
        { "socket", required_argument, NULL, 's' },
};
"""
INTERFACE = """\
<node>
  <interface name="org.workermesh.Mesh1.Job">
    <method name="Cancel">
      <arg name="ended" type="b" direction="out"/>
    </method>
    <property name="Id" type="s" access="read"/>
%s  </interface>
</node>
"""
OPENAPI = """\
paths:
  /api/v1/jobs:
    get: { parameters: [{ name: limit }], responses: { "200": {}, "403": {} } }
components: { schemas: { Problem: { properties: { code: { enum: [forbidden] } } } } }
"""
PROGRAM_PAGE = """\
OPTIONS
=======

--%s
    What it does.

EXIT STATUS
===========

0, 1, 2
    How it ended.

EVENTS
======

4a2602141e824ded8b114f58bb58a19a, **JOB_ID**, **$SLOTS**, worker-mesh.service
"""
CONFIG_PAGE = """\
SETTINGS
========

Slots=
    Jobs at once. Variable **$SLOTS**, option **--slots**. Default: %s.%s
"""
REST_PAGE = """\
PATHS
=====

GET /api/v1/jobs
    Status: 200. With **limit**, and as Problem with a *code*.

ERRORS
======

403
    *forbidden*.%s
"""
BUS_PAGE = """\
JOB INTERFACE
=============

Cancel() → (b ended)
    Ends it.

Id (s)
    Its id.
%s
ERRORS
======

Gone
    It is.
"""
# What documents and code say of each other.
DOCUMENTED = {
    "README.md": "See worker-mesh(8) and [the page](man/worker-mesh.rst).\n",
    "dbus/bus.xml": INTERFACE % "",
    "man/org.workermesh.Mesh1.rst": BUS_PAGE % "",
    "man/worker-mesh-executor.rst": PROGRAM_PAGE % "socket",
    "man/worker-mesh-rest.rst": REST_PAGE % "",
    "man/worker-mesh.conf.rst": CONFIG_PAGE % ("4", " Reload."),
    "man/worker-mesh.rst": PROGRAM_PAGE % "slots",
    "src/api/ops.c": LICENCE
    + 'static const char *const problem_texts[_PROBLEM_CODE_MAX] = {\n        [PROBLEM_GONE] = "gone",\n};\n',
    "src/api/rest/openapi.yaml": OPENAPI,
    "src/executor/main.c": EXECUTOR,
    "src/node/config-table.c": TABLE % SETTING,
    "src/node/config.h": LICENCE + "enum {\n        EXIT_USAGE = 2\n};\n",
    "src/node/journal.c": LICENCE + 'const char *field = "JOB_ID=";\n',
    "src/node/worker-mesh.catalog": "-- 4a2602141e824ded8b114f58bb58a19a\nSubject: A job\n\nSlots= is one of the reasons.\n",
    "src/util/message-ids.h": LICENCE + '#define MESSAGE_JOB_STARTED "4a2602141e824ded8b114f58bb58a19a"\n',
    "tests/unit/all.py": '# SPDX-License-Identifier: LGPL-2.1-or-later\nprint("--slots --socket /jobs Cancel Id")\n',
    "units/worker-mesh.conf": "[Mesh]\n#Slots=4\n",
    "units/worker-mesh.service.in": "[Service]\nType=notify\n",
}

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
    ("documents", "src/node/config-table.c", TABLE % SETTING.replace("SLOTS", "NICE").replace("Slots", "Nice"), "Nice= is not"),
    ("documents", "src/node/config-table.c", TABLE % SETTING.replace('"slots"', '"places"'), "--places is not described"),
    ("documents", "man/worker-mesh.conf.rst", CONFIG_PAGE % ("5", " Reload."), "Slots=: Default: 4. is missing"),
    ("documents", "man/worker-mesh.conf.rst", CONFIG_PAGE % ("4", ""), "whether a reload takes it up"),
    ("documents", "man/worker-mesh.conf.rst", CONFIG_PAGE % ("4", " Reload.\n\nSpeed=\n    Of all."), "no setting Speed="),
    ("documents", "man/worker-mesh.rst", PROGRAM_PAGE % "slots=N\n    Jobs.\n\n--speed", "there is no option --speed"),
    ("documents", "man/worker-mesh.rst", PROGRAM_PAGE.replace("0, 1, 2", "0, 1") % "slots", "exit status 2 is not"),
    ("documents", "man/worker-mesh.rst", PROGRAM_PAGE.replace("0, 1, 2", "0, 1, 2, 9") % "slots", "no exit status 9"),
    ("documents", "man/worker-mesh.rst", PROGRAM_PAGE.replace("4a26", "4a27") % "slots", "event 4a2602141e82"),
    ("documents", "man/worker-mesh.rst", PROGRAM_PAGE.replace("JOB_ID", "ID") % "slots", "field of the journal JOB_ID"),
    ("documents", "units/worker-mesh-new.socket", "[Socket]\n", "unit worker-mesh-new.socket is not described"),
    ("documents", "units/worker-mesh.conf", "[Mesh]\n#Slots=5\n", "the default of Slots= is 4, not 5"),
    ("documents", "units/worker-mesh.conf", "[Mesh]\n#Speed=5\n", "there is no setting Speed="),
    ("documents", "src/executor/main.c", EXECUTOR.replace('"socket"', '"pipe"'), "--pipe is not described"),
    ("documents", "src/node/new.c", LICENCE + 'const char *x = getenv("NEW_ONE");\n', "variable $NEW_ONE is not described"),
    ("documents", "src/node/worker-mesh.catalog", "Speed= is one of the reasons.\n", "there is no setting Speed="),
    ("documents", "src/api/rest/openapi.yaml", OPENAPI.replace("403", "404"), "status 404 is not described"),
    ("documents", "src/api/rest/openapi.yaml", OPENAPI.replace("get:", "post:"), "POST /api/v1/jobs is not described"),
    ("documents", "src/api/rest/openapi.yaml", OPENAPI.replace("[forbidden]", "[gone]"), "code gone is not described"),
    ("documents", "src/api/rest/openapi.yaml", OPENAPI.replace("limit", "cursor"), "parameter cursor is not described"),
    ("documents", "man/worker-mesh-rest.rst", REST_PAGE % "\n\nAt /api/v1/speed.", "there is no address /api/v1/speed"),
    ("documents", "dbus/bus.xml", INTERFACE % '    <signal name="Gone"/>\n', "is not described: Gone()"),
    ("documents", "dbus/bus.xml", (INTERFACE % "").replace('"b"', '"s"'), "is not described: Cancel() → (s ended)"),
    ("documents", "man/org.workermesh.Mesh1.rst", BUS_PAGE % "\nSpeed (t)\n    Of all.\n", "there is no Speed (t)"),
    ("documents", "man/org.workermesh.Mesh1.rst", (BUS_PAGE % "").replace("Gone", "Away"), "error Gone is not described"),
    ("documents", "README.md", "Ask --no-such-option for it.\n", "there is no option --no-such-option"),
    ("documents", "README.md", "Look at worker-mesh-web.service.\n", "there is no unit worker-mesh-web.service"),
    ("documents", "README.md", "See [there](man/gone.rst).\n", "there is no man/gone.rst"),
    ("documents", "README.md", "See worker-meshctl(1).\n", "there is no page worker-meshctl(1)"),
    ("documents", "tests/unit/all.py", "print()\n", "none mentions Slots="),
    ("documents", "tests/unit/all.py", 'print("--slots Cancel")\n', "none mentions GET /api/v1/jobs"),
    ("documents", "tests/unit/all.py", 'print("--slots /jobs")\n', "none mentions method Cancel"),
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
        for name, text in {**GOOD, **(DOCUMENTED if check == "documents" else {})}.items():
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


PAGE = ".TH T 8\n.SH NAME\nt \\- %s\n.SH DESCRIPTION\nIt is.\n.SH SEE ALSO\nNothing.\n"
PAGES = [
    (PAGE % "try", None),
    (PAGE % ".\n.nf\n%s\n.fi" % ("word " * 20), "columns"),
    (PAGE.replace("SEE ALSO", "MORE") % "try", "the sections are"),
    (PAGE % "@LATER@", "was not filled in"),
]


def try_page(content, expected):
    """As try_sample(), for a man page: what is checked there is no tree."""
    with tempfile.TemporaryDirectory() as folder:
        write(folder, "t.8", content)
        status, output = run("pages", os.path.join(folder, "t.8"))
    if status == files.SKIPPED:
        return None
    good = status == 0 if expected is None else status != 0 and expected in output
    return None if good else f"pages: expected {expected or 'nothing'!r}; exit status {status}:\n{output}"


def main():
    samples = [(check, None, None, None) for check in ("includes", "format", "size", "words", "scripts", "catalog")]
    problems = [problem for sample in samples + BAD for problem in [try_sample(*sample)] if problem]
    problems += [problem for page in PAGES for problem in [try_page(*page)] if problem]
    print(f"{len(samples) + len(BAD) + len(PAGES)} samples, {len(problems)} problems")
    files.finish(problems)


if __name__ == "__main__":
    main()
