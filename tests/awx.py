# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Writes what AWX is given: job templates with surveys, workflows, credential types; and their table in docs/awx.md.

    python tests/awx.py     from playbooks/vars/awx/asked.yml and the roles' argument specs

ValueError, which names the template and the option, where a survey cannot ask what it is told to: an option that no
role has, a secret, a list or dictionary without choices, a default that only a host can compute.
"""

from __future__ import annotations

import itertools
import re
import sys
from pathlib import Path
from typing import Any

import role_docs
import yaml

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "playbooks" / "vars" / "awx"
PAGE = ROOT / "docs" / "awx.md"
BEGIN = "<!-- templates, written by tests/awx.py -->"
END = "<!-- end of templates -->"
HEAD = "---\n# Written by tests/awx.py from asked.yml and the roles' argument specs; edit those, then run it.\n"
# What AWX calls an option's type in a survey
TYPES = {"str": "text", "path": "text", "int": "integer", "float": "float"}
SEVERAL_LINES = re.compile(r"(?:_|^)(?:key|certificate|identity|config)$")

Options = dict[str, dict[str, Any]]


def specs(root: Path = ROOT) -> dict[str, Options]:
    """The options of each role's main entry point, by role; each option knows its role."""
    found = {}
    for file in sorted(root.glob("roles/*/meta/argument_specs.yml")):
        role = file.parts[-3]
        entries = yaml.safe_load(file.read_text(encoding="utf-8"))["argument_specs"]
        found[role] = {name: option | {"role": role} for name, option in entries["main"].get("options", {}).items()}
    return found


def question(variable: str, option: dict[str, Any], added: dict[str, Any]) -> dict[str, Any]:
    """One question of a survey; ValueError if it cannot be asked."""
    kind, default, choices = option.get("type", "str"), option.get("default"), option.get("choices", [])
    if option.get("no_log"):
        raise ValueError(f"{variable} is a secret: it comes from a credential, not from a survey")
    if isinstance(default, str) and "{{" in default and not added.get("required"):
        raise ValueError(f"{variable} is computed on each host: an empty answer would take the place of its default")
    said = re.sub(r"`([^`]*)`", r"\1", role_docs.plain(option["description"])).replace("\\|", "|")
    asked = {
        "question_name": f"{option['role']}: {re.split(r'[.:;](?: |$)', said)[0]}",
        "question_description": f"{variable}: {said}",
        "variable": variable,
        "required": False,
    }
    if kind == "bool":
        # a text in AWX; the roles take it by `| bool`
        asked |= {"type": "multiplechoice", "choices": ["false", "true"], "default": str(bool(default)).lower()}
    elif kind == "list" and choices:
        asked |= {"type": "multiselect", "choices": choices, "default": "\n".join(default or [])}
    elif choices:
        asked |= {"type": "multiplechoice", "choices": choices, "default": default or ""}
    elif kind in TYPES:
        asked |= {"type": TYPES[kind]}
        if default not in (None, "") and "{{" not in str(default):
            asked["default"] = default
    else:
        raise ValueError(f"{variable} is of type {kind} without choices: no survey has a question for it")
    return asked | added


def survey(name: str, description: str, questions: list[dict[str, Any]]) -> dict[str, Any]:
    """A survey of AWX, or the empty one."""
    return {"name": name, "description": description, "spec": questions} if questions else {}


def template(asked: dict[str, Any], options: Options) -> dict[str, Any]:
    """A job template as awx.awx.job_template takes it, but for what the playbook adds, as project and inventory."""
    name = asked["name"]
    unknown = sorted(set(asked.get("asks", {})) - set(options))
    if unknown:
        raise ValueError(f"{name}: no role has the option {', '.join(unknown)}")
    questions = []
    for variable, added in asked.get("asks", {}).items():
        try:
            questions.append(question(variable, options[variable], added))
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    made = {
        "name": name,
        "description": asked["description"],
        "playbook": asked["playbook"],
        "job_type": asked.get("job_type", "run"),
        "diff_mode": asked.get("job_type") == "check",
        # Two runs at once on one site would restart two members of a tier.
        "allow_simultaneous": False,
        "job_tags": ",".join(asked.get("tags", [])),
        **{f"ask_{prompt}_on_launch": True for prompt in asked.get("prompts", [])},
        "survey_enabled": bool(questions),
        "survey_spec": survey(name, asked["description"], questions),
    }
    return made


def workflow(asked: dict[str, Any], templates: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """A workflow as awx.awx.workflow_job_template takes it: each step only after the success of the one before."""
    steps = [f"{number} {name}" for number, name in enumerate(asked["steps"], 1)]
    nodes: list[dict[str, Any]] = []
    for step, after in itertools.zip_longest(steps, steps[1:]):
        node: dict[str, Any] = {"identifier": step, "unified_job_template": {"name": step.split(" ", 1)[1]}}
        node["unified_job_template"]["type"] = "job_template"
        if after:
            node["related"] = {"success_nodes": [{"identifier": after}]}
        nodes.append(node)
    questions = [q for name in dict.fromkeys(asked["steps"]) for q in templates[name]["survey_spec"].get("spec", [])]
    return {
        "name": asked["name"],
        "description": asked["description"],
        "survey_enabled": bool(questions),
        "survey_spec": survey(asked["name"], asked["description"], questions),
        "workflow_nodes": nodes,
    }


def credential(name: str, variables: list[str], options: Options) -> dict[str, Any]:
    """A credential type as awx.awx.credential_type takes it, which gives secrets to the roles as extra variables."""
    fields = []
    for variable in variables:
        option = options.get(variable)
        if not option or not option.get("no_log") or option.get("type", "str") not in ("str", "path"):
            raise ValueError(f"{name}: {variable} is no secret text of a role")
        field = {"id": variable, "label": variable, "type": "string", "secret": True}
        if SEVERAL_LINES.search(variable):
            field["multiline"] = True
        fields.append(field | {"help_text": role_docs.plain(option["description"]).replace("`", "")})
    return {
        "name": name,
        "kind": "cloud",
        "inputs": {"fields": fields, "required": variables},
        "injectors": {"extra_vars": {variable: f"{{{{ {variable} }}}}" for variable in variables}},
    }


def build(asked: dict[str, Any], by_role: dict[str, Options]) -> dict[str, Any]:
    """All that templates.yml holds; ValueError for what does not go together."""
    options = {name: option for found in by_role.values() for name, option in found.items()}
    given = [name for names in asked["awx_asked_secrets"].values() for name in names] + asked["awx_asked_vaulted"]
    secrets = {name for name, option in options.items() if option.get("no_log")}
    if forgotten := sorted(secrets - set(given)):
        raise ValueError(f"no credential and no vault is said to have the secret {', '.join(forgotten)}")
    here = [wish for wish in asked["awx_asked_templates"] if wish.get("role", "") in ("", *by_role)]
    templates = {wish["name"]: template(wish, options) for wish in here}
    return {
        "awx_credential_types": [credential(n, names, options) for n, names in asked["awx_asked_secrets"].items()],
        "awx_job_templates": list(templates.values()),
        "awx_workflows": [
            workflow(wish, templates) for wish in asked["awx_asked_workflows"] if set(wish["steps"]) <= set(templates)
        ],
    }


class Dumper(yaml.SafeDumper):
    """Lists are indented, and nothing is an alias: people and linters read the file."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> Any:
        return super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        return True


class Loader(yaml.SafeLoader):
    """Reads templates.yml, as Ansible does."""


# What AWX is to fill in, Ansible must not.
Dumper.add_representer(
    str,
    lambda dumper, value: dumper.represent_scalar(
        "!unsafe" if "{{" in value else "tag:yaml.org,2002:str", value, "'" * ("{{" in value)
    ),
)
Loader.add_constructor("!unsafe", lambda loader, node: str(node.value))


def text(made: dict[str, Any]) -> str:
    """The file templates.yml."""
    return HEAD + yaml.dump(made, Dumper=Dumper, sort_keys=False, width=110, allow_unicode=True)


def load(folder: Path = FOLDER) -> dict[str, Any]:
    """What templates.yml holds."""
    found: dict[str, Any] = yaml.load((folder / "templates.yml").read_text(encoding="utf-8"), Loader)
    return found


def table(made: dict[str, Any]) -> str:
    """What each template asks, for docs/awx.md."""
    lines = ["| template | playbook, tags | its survey asks | prompts |", "|---|---|---|---|"]
    for found in made["awx_job_templates"]:
        asks = [f"`{q['variable']}`{' (required)' * q['required']}" for q in found["survey_spec"].get("spec", [])]
        prompts = [
            re.sub(r"ask_(\w+)_on_launch", r"\1", key).replace("_mode", "") for key in found if key[:4] == "ask_"
        ]
        playbook = f"`{found['playbook'].removeprefix('playbooks/')}`" + ", check mode" * (found["job_type"] == "check")
        tags = f" `{found['job_tags']}`" if found["job_tags"] else ""
        lines.append(f"| {found['name']} | {playbook}{tags} | {', '.join(asks) or '–'} | {', '.join(prompts) or '–'} |")
    lines += ["", "| workflow | steps, each after the success of the one before |", "|---|---|"]
    for flow in made["awx_workflows"]:
        steps = [node["unified_job_template"]["name"] for node in flow["workflow_nodes"]]
        lines.append(f"| {flow['name']} | {' → '.join(steps)} |")
    lines += ["", "| credential type | gives |", "|---|---|"]
    for kind in made["awx_credential_types"]:
        lines.append(f"| {kind['name']} | {', '.join(f'`{name}`' for name in kind['inputs']['required'])} |")
    return "\n".join([BEGIN, *lines, END])


def page(made: dict[str, Any]) -> str:
    """docs/awx.md as it should be."""
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    return before + table(made) + rest.split(END)[1]


def main() -> int:
    made = build(yaml.safe_load((FOLDER / "asked.yml").read_text(encoding="utf-8")), specs())
    for file, wanted in ((FOLDER / "templates.yml", text(made)), (PAGE, page(made))):
        if not file.exists() or file.read_text(encoding="utf-8") != wanted:
            file.write_text(wanted, encoding="utf-8")
            print(f"{file.relative_to(ROOT)} written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
