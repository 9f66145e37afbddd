"""Prints the size of each SDK: the lines of its worker and client, and of what is counted apart.

Blank lines, comments and documentation are not counted. Counted apart are

- types: declarations without behaviour (`interface` and `type` in TypeScript, `struct` and `enum`
  with their attributes in Rust). Those of the Ruby gem are in `sig`, and not counted at all;
- code for earlier packages;
- what users test their handlers with;
- unit tests inside of a file (`#[cfg(test)]` in Rust).

    python checks/sdk_sizes.py          # a line for each part
    python checks/sdk_sizes.py --files  # and one for each file
"""

import re
import sys
from collections import Counter
from pathlib import Path

SDK = Path(__file__).parents[1] / "sdk"
SOURCES = {"ruby": "lib/**/*.rb", "typescript": "src/*.ts", "rust": "src/*.rs"}
CORE = "worker, client"
APART = {
    "code for earlier packages": {
        "api_connection", "class_handlers", "core_ext", "rails_generation", "tasker_core",
    },
    "tests of handlers": {"testing"},
}  # fmt: skip
COMMENTS = {".rb": ("#",), ".ts": ("//", "/*", "*"), ".rs": ("//",)}
TYPED = (".ts", ".rs")
TYPES = re.compile(r"(export |pub(\(crate\))? )?(interface|type|struct|enum) \w")


def parts_of(source: Path) -> Counter[str]:
    """Return the numbers of lines of code of the parts of a file."""
    core = next((part for part, names in APART.items() if source.stem in names), CORE)
    sizes: Counter[str] = Counter()
    part, attributes = core, 0
    for line in source.read_text().splitlines():
        if not line.strip() or line.strip().startswith(COMMENTS[source.suffix]):
            continue
        if line == "#[cfg(test)]":
            part = "unit tests"
        elif line.startswith("#["):
            attributes += 1
            continue
        elif part != "unit tests" and line[0] not in " })":
            part = "types" if TYPES.match(line) and source.suffix in TYPED else core
        sizes[part] += 1 + attributes
        attributes = 0
    return sizes


def main() -> None:
    """Print the sizes of all SDKs."""
    for language, pattern in SOURCES.items():
        files = {source: parts_of(source) for source in sorted((SDK / language).glob(pattern))}
        print(language)
        for part, lines in sorted(sum(files.values(), Counter[str]()).items()):
            print(f"  {part}: {lines}")
        if "--files" in sys.argv:
            for source, sizes in files.items():
                print(f"    {source.name}: {', '.join(f'{k} {v}' for k, v in sizes.items())}")


if __name__ == "__main__":
    main()
