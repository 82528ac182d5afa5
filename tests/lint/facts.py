# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the programs have that a person can use, as the code names it: options, settings, variables, exit statuses,
units, addresses, D-Bus members, events of the journal. documents.py compares it with what is written about it."""

import collections
import os
import re
import xml.etree.ElementTree

import files

TABLE = "src/node/config-table.c"
HELP = "src/node/config-help.c"
EXECUTOR = "src/executor/main.c"
CATALOG = "src/node/worker-mesh.catalog"
OPENAPI = "src/api/rest/openapi.yaml"
MESSAGE_IDS = "src/util/message-ids.h"

Setting = collections.namedtuple("Setting", "key variable option default shown reloads")
Member = collections.namedtuple("Member", "interface kind name described")


def text(root, path):
    """A file, or nothing where it is not there."""
    return (files.read(root, path) or "") if os.path.exists(os.path.join(root, path)) else ""


def settings(root):
    found = []
    for entry in re.split(r"\n        \[SETTING_\w+\] = \{", text(root, TABLE))[1:]:
        key, variable, option = re.match(r'\s*"(\w+)", "(\w+)", "([\w-]+)"', entry).groups()
        value = re.search(r'\.value = "([^"]*)"', entry)
        shown = re.search(r'\.shown = "([^"]*)"', entry)
        reloads = ".reloads = true" in entry
        found.append(Setting(key, variable, option, value and value.group(1), shown and shown.group(1), reloads))
    return found


def node_options(root):
    own = re.findall(r'print_line\(file, "([\w-]+)"', text(root, HELP))
    return [setting.option for setting in settings(root)] + own


def executor_options(root):
    return re.findall(r'\{ "([\w-]+)", (?:required|no)_argument', text(root, EXECUTOR))


def variables(root, program):
    """Those that a program reads by name; program: "node" or "executor"."""
    found = set()
    for path in files.walk(root, (".c",), ("src",)):
        if (program == "executor") == path.startswith("src/executor/"):
            found |= set(re.findall(r'getenv\("(\w+)"\)', text(root, path)))
    return sorted(found)


def exit_statuses(root, program):
    path = EXECUTOR if program == "executor" else "src/node/config.h"
    return ["0", "1"] + re.findall(r"\bEXIT_[A-Z]+(?: = | )(\d+)\b", text(root, path))


def units(root):
    names = [os.path.basename(path) for path in files.walk(root, None, ("units",))]
    return [name.removesuffix(".in") for name in names if re.search(r"\.(service|socket|target)(\.in)?$", name)]


def unit_directives(root):
    found = set()
    for path in files.walk(root, (".service.in", ".socket", ".target"), ("units",)):
        found |= set(re.findall(r"^(\w+)=", text(root, path), re.M))
    return found


def openapi(root):
    """None: it cannot be read, since there is no YAML parser."""
    try:
        import yaml
    except ImportError:
        return None
    return yaml.safe_load(text(root, OPENAPI)) or {}


def routes(description):
    """(method, path, statuses, parameters) of each."""
    for path, operations in description.get("paths", {}).items():
        for method, operation in operations.items():
            if method != "parameters":
                parameters = [parameter["name"] for parameter in operation.get("parameters", [])]
                yield method.upper(), path, sorted(operation["responses"]), parameters


def json_names(description):
    """Every property of every object that is sent or taken."""
    found = set()
    waiting = [description.get("components", {}).get("schemas", {})]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            properties = node.get("properties")
            if isinstance(properties, dict):
                found |= set(properties)
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node
    return sorted(found)


def problem_codes(description):
    problem = description.get("components", {}).get("schemas", {}).get("Problem", {})
    return problem.get("properties", {}).get("code", {}).get("enum", [])


def _arguments(member, direction):
    """As "s command, a{sv} options"; direction: of a method's arguments, None for all of a signal's."""
    arguments = [argument for argument in member.iter("arg") if direction in (None, argument.get("direction", "in"))]
    return ", ".join(f"{argument.get('type')} {argument.get('name')}" for argument in arguments)


def _describe(member):
    """As "GetJob(s job_id) → (o job)", "JobNew(s job_id, o job)", "NodeId (s)": how a page names it."""
    name = member.get("name")
    if member.tag == "property":
        return f"{name} ({member.get('type')})"
    if member.tag == "signal":
        return f"{name}({_arguments(member, None)})"
    answer = _arguments(member, "out")
    return f"{name}({_arguments(member, 'in')})" + (f" → ({answer})" if answer else "")


def bus_members(root):
    found = []
    for path in files.walk(root, (".xml",), ("dbus",)):
        for interface in xml.etree.ElementTree.fromstring(text(root, path)).iter("interface"):
            name = interface.get("name")
            if name.startswith("org.workermesh."):
                found += [
                    Member(name, member.tag, member.get("name"), _describe(member))
                    for member in interface
                    if member.tag in ("method", "property", "signal")
                ]
    return found


def bus_errors(root):
    """The codes of the operations in the spelling of the bus, and those of the bus alone."""
    codes = re.findall(r'\[PROBLEM_\w+\] = "(\w+)"', text(root, "src/api/ops.c"))
    found = {"".join(word.capitalize() for word in code.split("_")) for code in codes} - {"None", "Forbidden"}
    for path in files.walk(root, (".c", ".h"), ("src/api/dbus",)):
        found |= set(re.findall(r'ERROR_PREFIX "(\w+)"', text(root, path)))
    return sorted(found)


def journal_fields(root):
    """What lines of the journal carry beside what every program's do."""
    found = set()
    for path in files.walk(root, (".c",), ("src/node", "src/util")):
        if re.search(r"/(journal|log)[\w-]*\.c$", path):
            found |= set(re.findall(r'"([A-Z][A-Z_]+)=(?:%|")', text(root, path)))
    return sorted(found - {"MESSAGE", "MESSAGE_ID", "PRIORITY", "SYSLOG_IDENTIFIER", "CODE_FILE", "CODE_LINE", "CODE_FUNC"})


def message_ids(root):
    return dict(re.findall(r'#define MESSAGE_(\w+) "([0-9a-f]{32})"', text(root, MESSAGE_IDS)))


def tests(root):
    """All that the tests say, but for the checks of this folder."""
    paths = files.walk(root, (".py", ".c", ".h"), ("tests",))
    return "\n".join(text(root, path) for path in paths if not path.startswith("tests/lint/"))
