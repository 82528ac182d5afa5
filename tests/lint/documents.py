#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Documents and code say the same: what the programs have is described in its man page, what a page or the README names
is there, and a test mentions it."""

import os
import re

import facts
import files

NODE_PAGE = "man/worker-mesh.rst"
EXECUTOR_PAGE = "man/worker-mesh-executor.rst"
CONFIG_PAGE = "man/worker-mesh.conf.rst"
BUS_PAGE = "man/org.workermesh.Mesh1.rst"
REST_PAGE = "man/worker-mesh-rest.rst"
SHIPPED = "units/worker-mesh.conf"

# Of other programs, in examples.
FOREIGN_OPTIONS = {
    "now", "unix-socket", "allow-interactive-authorization", "update-catalog", "data-binary", "suite", "create", "user",
}  # fmt: skip
FOREIGN_SETTINGS = {"MemoryMax", "CPUQuota", "Key", "LoadCredential"}


def definitions(page):
    """Each term of a page with what is said of it: lines that are followed by a more indented one."""
    found = {}
    lines = page.splitlines()
    for number, line in enumerate(lines[:-1]):
        indent = len(line) - len(line.lstrip())
        following = lines[number + 1]
        if not line.strip() or len(following) - len(following.lstrip()) <= indent or not following.strip():
            continue
        block = []
        for inner in lines[number + 1 :]:
            if inner.strip() and len(inner) - len(inner.lstrip()) <= indent:
                break
            block.append(inner.strip())
        for term in re.split(r", |/(?=\*)", line.strip()):
            found[term.replace("*", "").replace("\\", "").strip()] = " ".join(block)
    return found


def section(page, title):
    found = re.search(rf"^{re.escape(title)}\n=+\n(.*?)(?=^[^\n]+\n====|\Z)", page, re.M | re.S)
    return found.group(1) if found else ""


def missing(path, page, names, what):
    """One problem for each name that stands nowhere in the page."""
    return [
        f"{path}: {what} {name} is not described"
        for name in names
        if not re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", page)
    ]


def check_settings(root):
    problems = []
    described = definitions(facts.text(root, CONFIG_PAGE))
    settings = facts.settings(root)
    for setting in settings:
        block = described.get(setting.key + "=")
        if block is None:
            problems.append(f"{CONFIG_PAGE}: {setting.key}= is not described")
            continue
        wanted = [f"**${setting.variable}**", f"**--{setting.option}**"]
        wanted += [f"Default: {setting.default}."] if setting.default else ["Default: "]
        problems += [f"{CONFIG_PAGE}: {setting.key}=: {piece} is missing" for piece in wanted if piece not in block]
        if ("Reload." in block) != setting.reloads:
            problems.append(f"{CONFIG_PAGE}: {setting.key}=: it is not true whether a reload takes it up")
    keys = {setting.key for setting in settings}
    problems += [
        f"{CONFIG_PAGE}: there is no setting {term}"
        for term in described
        if re.fullmatch(r"[A-Z]\w+=", term) and term[:-1] not in keys
    ]
    return problems


def check_shipped(root):
    """The file that is installed lists settings that there are, with their defaults."""
    problems = []
    defaults = {setting.key: setting.default or setting.shown or "" for setting in facts.settings(root)}
    for key, value in re.findall(r"^#?(\w+)=(.*)$", facts.text(root, SHIPPED), re.M):
        if key not in defaults:
            problems.append(f"{SHIPPED}: there is no setting {key}=")
        elif value and value != defaults[key]:
            problems.append(f"{SHIPPED}: the default of {key}= is {defaults[key]}, not {value}")
    return problems


def check_program(root, path, options, program):
    page = facts.text(root, path)
    described = {term.split("=")[0].strip("- ") for term in definitions(section(page, "OPTIONS")) if term[0] == "-"}
    problems = [f"{path}: --{option} is not described" for option in options if option not in described]
    problems += [f"{path}: there is no option --{name}" for name in described - set(options) - {"h"}]
    problems += missing(path, page, ["$" + name for name in facts.variables(root, program)], "variable")
    statuses = definitions(section(page, "EXIT STATUS"))
    known = facts.exit_statuses(root, program)
    problems += [f"{path}: exit status {status} is not described" for status in known if status not in statuses]
    problems += [f"{path}: there is no exit status {status}" for status in statuses if status not in known]
    return problems


def check_node(root):
    page = facts.text(root, NODE_PAGE)
    problems = check_program(root, NODE_PAGE, facts.node_options(root), "node")
    problems += missing(NODE_PAGE, page, ["$" + setting.variable for setting in facts.settings(root)], "variable")
    problems += missing(NODE_PAGE, page, facts.units(root), "unit")
    ids = facts.message_ids(root)
    problems += missing(NODE_PAGE, page, ids.values(), "event")
    problems += [
        f"{NODE_PAGE}: there is no event {name}" for name in re.findall(r"\b[0-9a-f]{32}\b", page) if name not in ids.values()
    ]
    problems += missing(NODE_PAGE, page, facts.journal_fields(root), "field of the journal")
    return problems


def check_rest(root):
    description = facts.openapi(root)
    if description is None:
        print("python3-yaml is not installed: worker-mesh-rest(7) is not checked")
        return []
    page = facts.text(root, REST_PAGE)
    described = definitions(section(page, "PATHS"))
    errors = definitions(section(page, "ERRORS"))
    problems, routes = [], set()
    for method, path, statuses, parameters in facts.routes(description):
        routes.add(f"{method} {path}")
        block = described.get(f"{method} {path}")
        if block is None:
            problems.append(f"{REST_PAGE}: {method} {path} is not described")
            continue
        problems += [
            f"{REST_PAGE}: {method} {path}: status {status} is not described"
            for status in statuses
            if status not in errors and not re.search(rf"\b{status}\b", block)
        ]
        problems += missing(f"{REST_PAGE}: {method} {path}", page, parameters, "parameter")
    problems += [
        f"{REST_PAGE}: there is no {term}"
        for term in described
        if re.match("(GET|POST|PUT|DELETE) ", term) and term not in routes
    ]
    problems += missing(REST_PAGE, page, facts.json_names(description), "field")
    problems += missing(REST_PAGE, page, facts.problem_codes(description), "code")
    return problems


def check_bus(root):
    page = facts.text(root, BUS_PAGE)
    problems, known = [], set()
    for member in facts.bus_members(root):
        title = member.interface.rpartition(".")[2].upper() + " INTERFACE"
        known.add((title, member.described))
        if member.described not in section(page, title):
            problems.append(f"{BUS_PAGE}: {member.kind} of {member.interface} is not described: {member.described}")
    for title in re.findall(r"^([A-Z]+ INTERFACE)\n=", page, re.M):
        # A member begins a line, several properties share one, and a method is described by all of its line.
        for line in re.findall(r"^([A-Z]\w+ ?\(.*)$", section(page, title), re.M):
            named = [line] if (title, line) in known else re.split(r"(?<=\)), (?=[A-Z])", line)
            problems += [f"{BUS_PAGE}: there is no {name} in {title}" for name in named if (title, name) not in known]
    described = definitions(section(page, "ERRORS"))
    errors = facts.bus_errors(root)
    problems += [f"{BUS_PAGE}: error {name} is not described" for name in errors if name not in described]
    return problems + [f"{BUS_PAGE}: there is no error {name}" for name in described if name not in errors]


def check_names(root):
    """Everything that looks like a name of ours, in all pages and the README."""
    problems = []
    options = set(facts.node_options(root)) | set(facts.executor_options(root)) | FOREIGN_OPTIONS
    settings = {setting.key for setting in facts.settings(root)} | facts.unit_directives(root) | FOREIGN_SETTINGS
    units, pages = set(facts.units(root)), files.walk(root, (".rst",), ("man",))
    description = facts.openapi(root)
    paths = "|".join(re.escape(path).replace(r"\{id\}", r"[^/\s?]+") for _, path, _, _ in facts.routes(description or {}))
    for path in [*pages, "README.md", facts.CATALOG]:
        page = facts.text(root, path).replace("\\ ", "").replace("*", "")
        problems += [
            f"{path}: there is no option --{name}"
            for name in sorted(set(re.findall(r"(?<![\w=-])--([a-z][a-z-]+)", page)) - options)
            if not re.search(rf"^ +(\$ |# )?(meson|ninja|apt-get|\.ci).* --{name}", page, re.M)
        ]
        problems += [
            f"{path}: there is no setting {name}="
            for name in sorted(set(re.findall(r"(?<![\w-])([A-Z][a-z]+[A-Za-z]*)=", page)) - settings)
        ]
        problems += [
            f"{path}: there is no unit {name}"
            for name in sorted(set(re.findall(r"\bworker-mesh[\w-]*@?[\w]*\.(?:service|socket|target)\b", page)))
            if re.sub("@[^.]+", "@", name) not in units
        ]
        problems += [
            f"{path}: there is no address {name}"
            for name in sorted(set(re.findall(r"/api/v1[\w/{}-]*", page)))
            if description and not re.fullmatch(paths, name.rstrip("/"))
        ]
        problems += [
            f"{path}: there is no page {name}({number})"
            for name, number in re.findall(r"\b((?:org\.)?worker-?mesh[\w.-]*)\((\d)\)", page)
            if f"man/{name}.rst" not in pages
        ]
        if path == "README.md":
            links = re.findall(r"\]\(([^):#]+)\)", page)
            problems += [f"{path}: there is no {name}" for name in links if not os.path.exists(os.path.join(root, name))]
    return problems


def check_tests(root):
    """That a test mentions it says little; that none does, enough."""
    said = facts.tests(root)
    problems = []
    for setting in facts.settings(root):
        if not re.search(rf"--{setting.option}\b|\b{setting.variable}\b|\b{setting.key}\b", said):
            problems.append(f"tests: none mentions {setting.key}=")
    own = set(facts.node_options(root)) - {setting.option for setting in facts.settings(root)}
    for option in sorted(own | set(facts.executor_options(root))):
        if not re.search(rf"--{option}(?![\w-])", said):
            problems.append(f"tests: none mentions --{option}")
    for method, path, _, _ in facts.routes(facts.openapi(root) or {}):
        tail = path.removeprefix("/api/v1") or path
        if not re.search(re.escape(tail).replace(r"\{id\}", r"[^\s/]+") + r"(?![\w/])", said):
            problems.append(f"tests: none mentions {method} {path}")
    for member in facts.bus_members(root):
        if not re.search(rf"\b{member.name}\b", said):
            problems.append(f"tests: none mentions {member.kind} {member.name} of {member.interface}")
    return problems


def main():
    root = files.root_from_arguments()
    problems = check_settings(root) + check_shipped(root) + check_node(root)
    problems += check_program(root, EXECUTOR_PAGE, facts.executor_options(root), "executor")
    problems += check_rest(root) + check_bus(root) + check_names(root) + check_tests(root)
    files.finish(problems)


if __name__ == "__main__":
    main()
