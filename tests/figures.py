#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Prints the yardstick of a review of src/: what a reader meets. Nothing is enforced.

figures.py [BUILD]    with the directory of a build made by COVERAGE=1 whose tests have run, also which
                      lines and branches they reach (make figures COVERED=1)

Functions and objects are ctags' (universal-ctags). A function's length is that of its lines from the
name to the closing brace. Nesting counts the statements around the deepest one. A module, file.c with
its file.h, counts as one of its folder's.
"""
import collections
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys

SRC = pathlib.Path("src")
STATEMENT = re.compile(r"^( +)(?:\} )?(?:if|for|while|switch|do|else)\b")
COMMENT_LINE = re.compile(r"^\s*(/\*|\*|//)")


def tags():
    """ctags' functions and file-scope variables of the C files."""
    files = sorted(map(str, SRC.rglob("*.c")))
    out = subprocess.run(["ctags", "--output-format=json", "--fields=+neK", "--kinds-C=fv", "-f", "-",
                          *files], check=True, text=True, capture_output=True).stdout
    return [json.loads(line) for line in out.splitlines()]


def declaration(lines, tag):
    """The text before an object's name: from the line that begins with a word."""
    end = start = tag["line"] - 1
    while start and not re.match(r"\w", lines[start]):
        start -= 1
    return lines[start] if start < end else re.split(rf"\b{tag['name']}\b", lines[end])[0]


def is_mutable(text):
    """Can what is declared so be assigned to?"""
    return not text.startswith("extern") and "const" not in (
        text.rsplit("*", 1)[-1] if "*" in text else text)


def nesting(lines):
    depths = [len(found[1]) // 4 for found in map(STATEMENT.match, lines) if found]
    return max(depths, default=0)


def comment_lines(lines):
    """How many lines are of comments only."""
    count, inside = 0, False
    for line in lines:
        count += inside or bool(COMMENT_LINE.match(line))
        if "/*" in line:
            inside = "*/" not in line.rsplit("/*", 1)[1]
        elif "*/" in line:
            inside = False
    return count


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def functions(texts, found):
    lengths, depths = {}, {}
    for tag in found:
        if tag["kind"] == "function" and "end" in tag:
            name = f"{tag['path']}: {tag['name']}"
            lines = texts[tag["path"]][tag["line"] - 1:tag["end"]]
            lengths[name], depths[name] = len(lines), nesting(lines)
    longest, deepest = max(lengths, key=lengths.get), max(depths, key=depths.get)
    print(f"functions            {len(lengths)}: median {statistics.median(lengths.values()):.0f} lines, "
          f"95 % up to {percentile(list(lengths.values()), 0.95)}, longest {lengths[longest]} ({longest})")
    print(f"deepest nesting      {depths[deepest]} ({deepest}); 95 % up to "
          f"{percentile(list(depths.values()), 0.95)}")


def objects(texts, found):
    mutable = [f"{tag['path']}: {tag['name']}" for tag in found if tag["kind"] == "variable"
               and "scope" not in tag and is_mutable(declaration(texts[tag["path"]], tag))]
    print(f"mutable objects      {len(mutable)} at file scope")
    for name in mutable:
        print(f"    {name}")


def text_of_files(texts):
    lines = sum(map(len, texts.values()))
    filled = [line for text in texts.values() for line in text if line.strip()]
    asserts = sum(bool(re.search(r"(?<![_\w])assert\(", line)) for line in filled)
    comments = sum(comment_lines(text) for text in texts.values())
    print(f"lines                {lines} in {len(texts)} files, {100 * comments / len(filled):.1f} % of those "
          "that are not empty are comment")
    print(f"asserts              {asserts}, {1000 * asserts / lines:.1f} for 1,000 lines")
    for path, text in sorted(texts.items()):
        if len(text) > 600:
            print(f"over 600 lines       {path}: {len(text)}")
    modules = collections.defaultdict(set)
    for path in texts:
        modules[os.path.dirname(path)].add(pathlib.Path(path).stem)
    for folder, names in sorted(modules.items()):
        if len(names) > 8:
            print(f"over 8 modules       {folder}: {len(names)}")


def gcov(build):
    """{source: {line: (count, [counts of its branches])}} of every object that has run."""
    found = collections.defaultdict(dict)
    notes = [str(path.resolve()) for path in pathlib.Path(build).rglob("*.gcda")
             if (SRC / path.relative_to(build)).with_suffix(".c").exists()]
    if not notes:
        sys.exit(f"figures: no test has run in {build}: make figures COVERED=1")
    out = subprocess.run(["gcov", "--json-format", "--stdout", "--branch-probabilities", *notes],
                         check=True, text=True, capture_output=True).stdout
    for document in out.splitlines():
        for file in json.loads(document)["files"]:
            name = os.path.relpath(file["file"])
            if name.startswith("src/") and name.endswith(".c"):
                for line in file["lines"]:
                    found[name][line["line_number"]] = (
                        line["count"], [branch["count"] for branch in line["branches"]])
    return found


def share(part, whole):
    return f"{100 * part / whole:5.1f} %" if whole else "    - "


def coverage(build, texts):
    """Branches of an assert that holds are left out: no test can take them."""
    sums = collections.defaultdict(lambda: [0, 0, 0, 0])
    for name, lines in gcov(build).items():
        whole = sums[name.split("/")[1] + "/" if name.count("/") > 1 else name]
        for row in ([whole, sums[name]] if re.search(r"src/(http|settings)/|/plan\.c$", name) else [whole]):
            for number, (count, branches) in lines.items():
                holds = "assert(" in texts[name][number - 1]
                row[0] += count > 0
                row[1] += 1
                row[2] += 0 if holds else sum(taken > 0 for taken in branches)
                row[3] += 0 if holds else len(branches)
    print("reached by the unit tests and the corpus: lines, branches")
    for name, (ran, lines, taken, branches) in sorted(sums.items()):
        print(f"    {share(ran, lines)} {share(taken, branches)}  {name}")


def main():
    texts = {str(path): path.read_text().split("\n")[:-1] for path in SRC.rglob("*.[ch]")}
    found = tags()
    text_of_files(texts)
    functions(texts, found)
    objects(texts, found)
    if len(sys.argv) > 1:
        coverage(sys.argv[1], texts)


if __name__ == "__main__":
    main()
