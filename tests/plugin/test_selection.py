from __future__ import annotations

import re

import pytest

from pdtest.plugin.markexpr import asked_for

from .conftest import Project, member

ONE_TEST = "def test_it(cluster): pass\n"


def collected(result: pytest.RunResult) -> set[str]:
    return set(re.findall(r"^test_it\.py::test_it\[(.+)\]$", result.stdout.str(), re.MULTILINE))


def collect(project: Project, *arguments: str) -> set[str]:
    return collected(project.run("--collect-only", "-q", *arguments, env=None))


@pytest.fixture
def three(project: Project) -> Project:
    project.environment("small", marks=["fake"])
    project.environment("large", marks=["fake", "rare"])
    project.environment("other", marks=["other"], connector={"contract": ["example"]})
    project.ini("addopts = --strict-markers\npdtest_default_env = small")
    project.tests(ONE_TEST)
    return project


def test_environments_are_chosen_by_option_mark_and_setting(three: Project) -> None:
    assert collect(three) == {"small"}
    assert collect(three, "--env", "large") == {"large"}
    assert collect(three, "--env", "large", "--env", "other", "--env", "large") == {"large", "other"}
    assert collect(three, "-m", "fake") == {"small", "large"}
    assert collect(three, "-m", "rare") == {"large"}
    assert collect(three, "-m", "not rare") == {"small"}
    assert collect(three, "-m", "fake and not rare") == {"small"}
    assert collect(three, "-m", "other or rare") == {"large", "other"}
    assert collect(three, "-k", "nixl", "-m", "fake or other") == {"small", "large"}
    assert collect(three, "-k", "example", "-m", "fake or other") == {"other"}
    assert not (three.path / ".pdtest").exists(), "nothing starts and nothing is written"


def test_an_environment_may_be_given_as_a_file_anywhere(three: Project) -> None:
    (three.path / "elsewhere").mkdir()
    file = three.environment("../elsewhere/mine", marks=["rare"])

    result = three.run("--collect-only", "-q", "--env", str(file), "-m", "rare", env=None)

    assert result.ret == pytest.ExitCode.OK
    assert collected(result) == {"mine"}


def test_a_file_that_would_hide_the_projects_settings_is_refused(three: Project) -> None:
    (three.path / "../elsewhere").mkdir(exist_ok=True)
    file = three.environment("../../elsewhere/mine", marks=["rare"])

    hidden = three.run("--collect-only", "-q", "--env", str(file), env=None)
    assert hidden.ret == pytest.ExitCode.USAGE_ERROR
    hidden.stderr.fnmatch_lines(
        ["*for the root directory: the settings in * do not count*", f"*--env={file}"]
    )

    seen = three.run("--collect-only", "-q", f"--env={file}", env=None)
    assert collected(seen) == {"mine"}


def test_a_directory_that_would_hide_the_projects_settings_is_refused(three: Project) -> None:
    elsewhere = (three.path / "../elsewhere").resolve()
    elsewhere.mkdir(exist_ok=True)

    hidden = three.run("--collect-only", "-q", "--pdtest-dir", str(elsewhere), env=None)
    assert hidden.ret == pytest.ExitCode.USAGE_ERROR
    hidden.stderr.fnmatch_lines([f"*write --pdtest-dir={elsewhere}"])

    seen = three.run("--collect-only", "-q", f"--pdtest-dir={elsewhere}", env=None)
    assert collected(seen) == {"small"}


def test_further_directories_are_searched(three: Project) -> None:
    three.environment("../elsewhere/far")
    three.ini("pdtest_environments = elsewhere")
    assert collect(three, "--env", "far") == {"far"}


def test_an_unknown_name_is_a_usage_error_that_names_the_nearest(three: Project) -> None:
    result = three.run(env="smal")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: unknown environment: there is no environment 'smal'", "*small*"])


def test_a_broken_file_is_told_with_file_line_and_key(three: Project) -> None:
    file = three.environment("small", conector={})
    line = 1 + file.read_text(encoding="utf-8").splitlines().index("conector: {}")

    chosen = three.run(env="small")
    by_default = three.run(env=None)

    assert chosen.ret == pytest.ExitCode.USAGE_ERROR
    chosen.stderr.fnmatch_lines([f"*small.yaml:{line}:1*conector*"])
    assert by_default.ret == pytest.ExitCode.INTERRUPTED
    by_default.stdout.fnmatch_lines([f"*small.yaml:{line}:1*conector*"])
    assert "Traceback" not in by_default.stdout.str()
    assert not (three.path / ".pdtest").exists()


def test_a_mark_finds_environments_that_lack_a_variable_and_says_so(three: Project) -> None:
    file = three.environment("large", marks=["gpu"])
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("path: model", "path: ${NOWHERE_SET:?export NOWHERE_SET}"), encoding="utf-8")

    result = three.run("-m", "gpu", env=None)

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*export NOWHERE_SET*"])
    assert collect(three) == {"small"}


def test_nothing_is_written_when_collection_fails(three: Project) -> None:
    three.write("test_broken.py", "import nowhere_to_be_found\n")

    assert three.run(env="small").ret == pytest.ExitCode.INTERRUPTED

    assert not (three.path / ".pdtest").exists()


def test_fixtures_and_options_are_documented(project: Project) -> None:
    fixtures = project.run("--fixtures", env=None).stdout.str()
    for name in ("cluster", "handoff", "judge", "prompts", "prefill", "decode", "colocated", "asked"):
        documented = re.search(rf"^{name}(?: \[session scope\])? -- .*\n +\w", fixtures, re.MULTILINE)
        assert documented, f"{name} has no words"
    project.run("--help", env=None).stdout.fnmatch_lines(["*--env=NAME|FILE*", "*pdtest_default_env*"])


@pytest.mark.parametrize(
    ("expression", "marks", "expected"),
    [
        ("gpu", {"gpu"}, True),
        ("gpu and nightly", {"gpu"}, True),
        ("gpu or slow", {"gpu", "cuda"}, True),
        ("not (slow or not gpu)", {"gpu"}, True),
        ("not gpu", {"gpu"}, False),
        ("not gpu", {"cpu"}, False),
        ("slow", {"gpu"}, False),
        ("gpu and not gpu", {"gpu"}, False),
        ("not (gpu and slow)", {"gpu"}, False),
        ("gpu and (", {"gpu"}, False),
        ("", {"gpu"}, False),
    ],
)
def test_what_an_expression_asks_for(expression: str, marks: set[str], expected: bool) -> None:
    assert asked_for(expression, frozenset(marks)) is expected


def test_where_nothing_chooses_an_environment_the_known_ones_are_named(project: Project) -> None:
    project.environment("small")
    project.tests(ONE_TEST)

    result = project.run(env=None)

    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["no environment was chosen*", "*known*small*", "*next*--env NAME*"])
    assert "Traceback" not in result.stdout.str()


def test_routes_are_those_that_the_contract_and_the_members_allow(project: Project) -> None:
    engines = {role: member(role) for role in ("prefill", "decode", "colocated")}
    both = {**engines, "proxy": member("proxy")}
    project.environment("direct")
    project.environment("both", members=both)
    project.environment("layerwise", connector={"contract": ["ascend-layerwise"]}, members=both)
    project.tests("def test_one(cluster, route): pass\n")

    result = project.run("--collect-only", "-q", "--env", "direct", "--env", "both", env="layerwise")

    result.stdout.re_match_lines_random(
        [r".*\[layerwise-proxy\]", r".*\[direct-client\]", r".*\[both-client\]", r".*\[both-proxy\]"]
    )
    result.stdout.no_re_match_line(r".*(layerwise-client|direct-proxy)")


def test_a_contract_that_needs_a_proxy_says_so_where_there_is_none(project: Project) -> None:
    project.environment(connector={"contract": ["ascend-layerwise"]})
    project.tests("def test_one(cluster, route): pass\n")

    result = project.run()

    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(
        ["*'doubles' has no proxy, and its contract ascend-layerwise needs one: *metaserver*"]
    )


def test_a_test_of_an_axis_that_the_contract_lacks_is_skipped_with_the_reason(project: Project) -> None:
    project.environment("plain", connector={"contract": ["example"]})
    project.environment("tampered")
    project.tests("import pytest\ndef test_one(cluster, tamper, route): pytest.skip('not run')\n")

    result = project.run("-rs", "-k", "plain or client-no-params", "--env", "tampered", env="plain")

    result.assert_outcomes(skipped=2, deselected=10)
    result.stdout.fnmatch_lines(["*example has no tamper"])


@pytest.fixture
def with_pool(project: Project) -> Project:
    project.environment(
        "pool",
        model=None,
        connector=None,
        members={"pool": {"role": "store", "service": "embedded-store"}},
        marks=["fake"],
    )
    project.environment("engines", marks=["fake"])
    project.tests("""
@pytest.fixture
def store(cluster):
    return cluster

def test_store(store): pass
def test_engines(prompts): pass
def test_either(cluster): pass
""")
    return project


def test_tests_run_where_there_is_what_they_need(with_pool: Project) -> None:
    both = with_pool.run("-v", "--env", "pool", "--env", "engines", env=None)
    assert set(re.findall(r"::(test_\w+\[\w+\]) PASSED", both.stdout.str())) == {
        *("test_store[pool]", "test_engines[engines]", "test_either[pool]", "test_either[engines]")
    }
    both.assert_outcomes(passed=4)


def test_what_runs_nowhere_is_skipped_with_the_reason(with_pool: Project) -> None:
    alone = with_pool.run("-rs", "-v", "--env", "pool", env=None)
    alone.assert_outcomes(passed=2, skipped=1)
    alone.stdout.fnmatch_lines(["SKIPPED * pool has no engines"])

    engines = with_pool.run("-rs", "-v", "--env", "engines", env=None)
    engines.assert_outcomes(passed=2, skipped=1)
    engines.stdout.fnmatch_lines(
        ["SKIPPED * engines has no member with role: store that clients can be made for"]
    )
