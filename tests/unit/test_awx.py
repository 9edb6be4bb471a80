# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What AWX is given agrees with the argument specs, the playbooks and AWX's own rules for surveys."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import awx
import pytest
import yaml

ROOT = awx.ROOT
BIN = Path(sys.executable).parent
ASKED = yaml.safe_load((awx.FOLDER / "asked.yml").read_text(encoding="utf-8"))
MADE = awx.load()
TEMPLATES = MADE["awx_job_templates"]
SURVEYS = [made["survey_spec"] for made in TEMPLATES + MADE["awx_workflows"] if made["survey_enabled"]]
# What a default may be, by a question's type: AWX's API refuses others.
DEFAULTS: dict[str, type | tuple[type, ...]] = {
    "text": str,
    "multiplechoice": str,
    "multiselect": str,
    "integer": int,
    "float": (int, float),
}


def names(items):
    return [item["name"] for item in items]


def test_surveys_are_what_the_specs_say():
    fresh = awx.build(ASKED, awx.specs())
    assert awx.text(fresh) == (awx.FOLDER / "templates.yml").read_text(encoding="utf-8"), "run: python tests/awx.py"
    assert awx.page(fresh) == awx.PAGE.read_text(encoding="utf-8"), "run: python tests/awx.py"


def test_a_changed_spec_is_noticed():
    options = awx.specs()
    options["drbd_pcs_mysql"]["drbd_pcs_mysql_restart"]["default"] = True
    assert awx.text(awx.build(ASKED, options)) != (awx.FOLDER / "templates.yml").read_text(encoding="utf-8")


@pytest.mark.parametrize("survey", SURVEYS, ids=lambda survey: survey["name"])
def test_awx_takes_the_survey(survey):
    assert survey["name"] and survey["description"]
    variables = [question["variable"] for question in survey["spec"]]
    assert len(variables) == len(set(variables))
    for question in survey["spec"]:
        assert {"question_name", "variable", "type", "required"} <= set(question)
        assert isinstance(question.get("default", ""), DEFAULTS[question["type"]])
        assert "{{" not in str(question)
        if question["type"] == "multiplechoice":
            assert question["default"] in question["choices"]


def test_no_survey_asks_a_secret_and_no_credential_has_a_default():
    secret = {name for options in awx.specs().values() for name, option in options.items() if option.get("no_log")}
    assert secret
    assert not {question["variable"] for survey in SURVEYS for question in survey["spec"]} & secret
    for kind in MADE["awx_credential_types"]:
        for field in kind["inputs"]["fields"]:
            assert field["secret"] and "default" not in field
            assert kind["injectors"]["extra_vars"][field["id"]] == f"{{{{ {field['id']} }}}}"


def test_no_survey_asks_what_an_inventory_sets():
    """An answer, even a default one, wins over the inventory."""
    held = set()
    for file in ROOT.glob("inventories/*/group_vars/**/*.yml"):
        held |= set(yaml.safe_load(file.read_text(encoding="utf-8")) or {})
    assert "redis_sentinel_password" in held
    assert not {question["variable"] for survey in SURVEYS for question in survey["spec"]} & held


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda template: template["name"])
def test_playbooks_and_tags_are_there(template):
    command = [str(BIN / "ansible-playbook"), "--list-tags", template["playbook"]]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    tags = {
        tag.strip(" []") for line in listed.splitlines() if "TAGS:" in line for tag in line.rsplit(":", 1)[1].split(",")
    }
    assert set(filter(None, template["job_tags"].split(","))) <= tags


def test_workflows_are_made_of_templates_one_after_another():
    for workflow in MADE["awx_workflows"]:
        nodes = workflow["workflow_nodes"]
        assert len(nodes) > 1
        assert {node["unified_job_template"]["name"] for node in nodes} <= set(names(TEMPLATES))
        follow = [node["related"]["success_nodes"][0]["identifier"] for node in nodes[:-1]]
        assert follow == [node["identifier"] for node in nodes[1:]]
        assert "related" not in nodes[-1]


def test_a_template_of_a_role_that_is_not_there_is_left_out_with_its_workflow():
    options = awx.specs()
    made = awx.build(ASKED, options)
    (drill,) = (template for template in made["awx_job_templates"] if template["name"] == "Drill")
    assert drill["survey_spec"]["spec"][0]["required"] is True
    assert "Drill, verified" in names(made["awx_workflows"])
    del options["drill"]
    made = awx.build(ASKED, options)
    assert "Drill" not in names(made["awx_job_templates"])
    assert "Drill, verified" not in names(made["awx_workflows"])


@pytest.mark.parametrize(
    ("option", "asked"),
    [
        (
            {"type": "bool", "default": True},
            {"type": "multiplechoice", "choices": ["false", "true"], "default": "true"},
        ),
        ({"type": "bool"}, {"type": "multiplechoice", "choices": ["false", "true"], "default": "false"}),
        ({"type": "int", "default": 3}, {"type": "integer", "default": 3}),
        ({"type": "float", "default": 0.5}, {"type": "float", "default": 0.5}),
        ({"choices": ["a", "b"], "default": "b"}, {"type": "multiplechoice", "choices": ["a", "b"], "default": "b"}),
        ({"type": "list", "choices": ["a", "b"], "default": ["a", "b"]}, {"type": "multiselect", "default": "a\nb"}),
        ({"type": "str", "default": "x"}, {"type": "text", "default": "x"}),
        ({"type": "path", "default": ""}, {"type": "text"}),
    ],
)
def test_an_option_becomes_a_question(option, asked):
    made = awx.question("thing_a", {"role": "thing", "description": "How. See V(x) in `y`."} | option, {})
    assert made | asked == made
    assert made["question_name"] == "thing: How"
    assert made["question_description"] == "thing_a: How. See x in y."
    assert ("default" in made) == ("default" in asked)


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ({"type": "str", "no_log": True}, "Site: thing_a is a secret: it comes from a credential, not from a survey"),
        ({"type": "list"}, "Site: thing_a is of type list without choices: no survey has a question for it"),
        ({"type": "dict"}, "Site: thing_a is of type dict without choices"),
        ({"type": "str", "default": "{{ x }}"}, "Site: thing_a is computed on each host"),
    ],
)
def test_what_cannot_be_asked_is_refused(option, text):
    asked = {"name": "Site", "description": "All.", "playbook": "playbooks/site.yml", "asks": {"thing_a": {}}}
    with pytest.raises(ValueError, match=text):
        awx.template(asked, {"thing_a": {"role": "thing", "description": "How."} | option})


def test_an_option_that_no_role_has_is_refused():
    asked = {"name": "Site", "description": "All.", "playbook": "playbooks/site.yml", "asks": {"thing_b": {}}}
    with pytest.raises(ValueError, match="Site: no role has the option thing_b"):
        awx.template(asked, {"thing_a": {"description": "How."}})


def test_a_secret_that_nothing_holds_is_refused():
    options = awx.specs()
    options["redis_sentinel"]["redis_sentinel_pin"] = {"type": "str", "no_log": True, "description": "A PIN."}
    with pytest.raises(ValueError, match="no credential and no vault is said to have the secret redis_sentinel_pin"):
        awx.build(ASKED, options)


def test_what_is_no_text_is_no_credential():
    options = {"thing_all": {"type": "dict", "no_log": True, "description": "All."}}
    with pytest.raises(ValueError, match="Thing: thing_all is no secret text of a role"):
        awx.credential("Thing", ["thing_all"], options)


def test_the_image_has_what_the_collection_needs(tmp_path):
    """ansible-builder takes the definition, and finds what the collection asks for and not what its developers use."""
    subprocess.run(
        [str(BIN / "ansible-galaxy"), "collection", "build", "--output-path", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (archive,) = tmp_path.glob("*.tar.gz")
    definition = ROOT / "playbooks" / "files" / "awx" / "execution-environment.yml"
    (tmp_path / definition.name).write_bytes(definition.read_bytes())
    subprocess.run([str(BIN / "ansible-builder"), "create"], cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "context" / "_build" / "collection" / archive.name).exists()
    pins = set((ROOT / "requirements.txt").read_text(encoding="utf-8").split())
    wanted = yaml.safe_load(definition.read_text(encoding="utf-8"))["dependencies"]
    named = [wanted["ansible_core"]["package_pip"], wanted["ansible_runner"]["package_pip"], *wanted["python"]]
    assert set(named) <= pins

    install = ["install", "--offline", "--no-deps", "--collections-path", str(tmp_path), str(archive)]
    subprocess.run([str(BIN / "ansible-galaxy"), "collection", *install], cwd=tmp_path, check=True, capture_output=True)
    found = subprocess.run(
        [str(BIN / "ansible-builder"), "introspect", str(tmp_path)], check=True, capture_output=True, text=True
    ).stdout
    needs = yaml.safe_load(found)
    assert [line.split()[0] for line in needs["python"]] == ["netaddr==1.3.0"]
    assert "netaddr==1.3.0" in pins
    assert {line.split()[0] for line in needs["system"]} == {"git", "openssh-client", "openssh-clients", "rsync"}
