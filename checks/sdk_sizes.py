"""Prints the size of each SDK: lines of code, without blank lines, comments and documentation."""

from pathlib import Path

SDK = Path(__file__).parents[1] / "sdk"
SOURCES = {"ruby": "lib/**/*.rb", "typescript": "src/*.ts", "rust": "src/*.rs"}
APART = {
    "code for earlier packages": {
        "api_connection", "class_handlers", "core_ext", "rails_generation", "tasker_core",
    },
    "tests of handlers": {"testing"},
    "types": {"protocol"},
}  # fmt: skip


def lines_of_code(source: Path) -> int:
    """Return the number of lines of a file that are neither blank nor comments."""
    marks = "#" if source.suffix == ".rb" else ("//", "/*", "*")
    lines = (line.strip() for line in source.read_text().splitlines())
    return sum(1 for line in lines if line and not line.startswith(marks))


def part_of(source: Path) -> str:
    """Return the part of an SDK that a file belongs to."""
    return next((part for part, names in APART.items() if source.stem in names), "worker, client")


def main() -> None:
    for language, pattern in SOURCES.items():
        sizes: dict[str, int] = {}
        for source in sorted((SDK / language).glob(pattern)):
            part = part_of(source)
            sizes[part] = sizes.get(part, 0) + lines_of_code(source)
        print(language, *(f"{part}: {lines}" for part, lines in sorted(sizes.items())), sep="\n  ")


if __name__ == "__main__":
    main()
