#!/usr/bin/env python3
"""The rules that hold the source tree together, checked over the files as text.

1. A file of src/<folder> includes only folders that the kumihimo_library table of CMakeLists.txt
   lets it link to, directly or through others. A unit test includes what its folder may.
2. Below src/cli nothing ends the process.
3. No folder is called utils.
4. A document that a message or a comment names is there.
5. No two headers of src define a type of the same name: what links both would take one's destructor
   for the other's, unnoticed until a compiler does not inline it.
Files over 500 lines are listed as a question, not an error: do they have two subjects?

Usage: check_sources.py SOURCE_DIR
"""

import pathlib
import re
import sys

SOURCES = {".cpp", ".hpp", ".cu"}
LINES_TO_ASK_ABOUT = 500


def read_library_table(cmake):
    """Folder -> the folders that it names in the table, public and private."""
    table = {}
    for body in re.findall(r"^kumihimo_library\(([^)]*)\)", cmake, re.MULTILINE):
        folder, *rest = body.split("BACKENDS")[0].split()
        table[folder] = {word for word in rest if re.fullmatch(r"[a-z_]+", word)}
    return table


def reachable(table, folder):
    """The folder and all that it may include."""
    found, pending = set(), [folder]
    while pending:
        current = pending.pop()
        if current not in found:
            found.add(current)
            pending.extend(table.get(current, ()))
    return found


def without_comments(text):
    return re.sub(r"//[^\n]*|/\*.*?\*/", "", text, flags=re.DOTALL)


def check_includes(path, text, table, folder):
    allowed = reachable(table, folder)
    faults = []
    for include in re.findall(r'^\s*#\s*include\s*"([^"]+)"', text, re.MULTILINE):
        target = include.split("/")[0]
        beside_its_test = path.parts[0] == "tests" and "/" not in include
        if beside_its_test:
            continue
        if "/" not in include or ".." in include:
            faults.append(f'{path}: "{include}" does not name its folder; write "folder/file.hpp"')
        elif target in table and target not in allowed:
            faults.append(
                f'{path}: {folder} may not include "{include}"; it may include '
                + ", ".join(sorted(allowed))
            )
    return faults


def check_documents(root, name, text):
    return [f"{name}: names {document}, which is not there"
            for document in sorted(set(re.findall(r"\bdocs/[\w-]+\.md\b", text)))
            if not (root / document).is_file()]


def types_defined(code):
    """In the project's own namespace: those of namespaces within it stand apart."""
    if not re.search(r"^namespace kumihimo \{$", code, re.MULTILINE):
        return []
    return re.findall(r"^(?:struct|class) (\w+)(?: final)?\s*(?::[^;{]*)?\{", code, re.MULTILINE)


def check_tree(root):
    """All faults, and the files that are long."""
    table = read_library_table((root / "CMakeLists.txt").read_text())
    faults, long_files, types = [], [], {}
    if not table:
        return ["CMakeLists.txt: no kumihimo_library line found"], []
    for top in ("src", "tests", "bench"):
        for path in sorted((root / top).rglob("*")):
            name = path.relative_to(root)
            if path.is_dir() and path.name in ("utils", "util"):
                faults.append(f"{name}: say what is in the folder; nothing is called {path.name}")
            if path.suffix not in SOURCES:
                continue
            text = path.read_text()
            if len(text.splitlines()) > LINES_TO_ASK_ABOUT:
                long_files.append(f"{name}: {len(text.splitlines())} lines")
            faults += check_documents(root, name, text)
            parts = name.parts
            code = without_comments(text)
            if parts[0] == "src" and len(parts) > 2:
                folder = parts[1]
                if folder not in table:
                    faults.append(f"{name}: src/{folder} has no kumihimo_library line")
                faults += check_includes(name, code, table, folder)
                for one in types_defined(code) if path.suffix == ".hpp" else ():
                    if one in types:
                        faults.append(f"{name}: {one} is the name of a type of {types[one]} too")
                    types[one] = name
                if folder != "cli" and re.search(r"\b(_exit|exit|quick_exit|abort)\s*\(", code):
                    faults.append(f"{name}: ends the process; return an Error or use KUMIHIMO_CHECK")
            elif parts[:2] == ("tests", "unit") and len(parts) > 3:
                faults += check_includes(name, code, table, parts[2])
    return faults, long_files


def main():
    faults, long_files = check_tree(pathlib.Path(sys.argv[1]))
    for line in long_files:
        print(f"long: {line}; does it have two subjects?")
    for fault in faults:
        print(fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
