"""The folder of golden fixtures to check, and their summary by family."""

from collections import Counter, defaultdict

OUTCOMES = {"passed": "passed", "failed": "failed", "error": "failed", "skipped": "unsupported"}


def pytest_addoption(parser):
    """Add the option that names a folder of fixtures."""
    parser.addoption("--golden", metavar="DIR", help="folder of golden fixtures to check")


def pytest_terminal_summary(terminalreporter):
    """Print how many fixtures of each family passed, failed and are unsupported."""
    families, unsupported = defaultdict(Counter), []
    for word, outcome in OUTCOMES.items():
        for report in terminalreporter.stats.get(word, []):
            name = dict(getattr(report, "user_properties", [])).get("golden")
            if name is None or (report.when == "teardown" and word != "error"):
                continue
            families[name.split("_")[0]][outcome] += 1
            if outcome == "unsupported":
                unsupported.append(f"{name}: {report.longrepr[2].removeprefix('Skipped: ')}")
    if not families:
        return
    terminalreporter.section("golden fixtures")
    total = sum(families.values(), Counter())
    for family, counts in [*sorted(families.items()), ("all", total)]:
        told = ", ".join(f"{counts[o]} {o}" for o in ("passed", "failed", "unsupported"))
        terminalreporter.write_line(f"{family}: {told}")
    for line in sorted(unsupported):
        terminalreporter.write_line(f"unsupported {line}")
