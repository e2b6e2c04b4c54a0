"""Lints infra/template.yaml with cfn-lint and checkov, in the environment of .ci/lint.txt. Neither needs the network.

- cfn-lint looks at every Region that has Function URLs. The Regions that have none must be the ones that README names.
- Every finding of checkov must be in infra/checkov.yaml, with the reason why it is accepted, and every finding in there must
  still be found.
"""

import json
import pathlib
import re
import subprocess
import sys

import yaml
from cfnlint.helpers import REGIONS
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER

ROOT = pathlib.Path(__file__).resolve().parent.parent
TEMPLATE = "infra/template.yaml"
ACCEPTED = "infra/checkov.yaml"
TOOLS = pathlib.Path(sys.executable).parent
URL = "AWS::Lambda::Url"
# cfn-lint has no schemas of these, and takes those of us-east-1.
UNKNOWN = ("us-iso", "eu-iso", "eusc-")


def regions():
    """Regions with Function URLs, and those without."""
    known = [region for region in REGIONS if not region.startswith(UNKNOWN)]
    with_urls = [region for region in known if URL in PROVIDER_SCHEMA_MANAGER.get_resource_types(region)]
    return with_urls, set(known) - set(with_urls)


def check_readme(without):
    """README names the Regions in which the stack cannot be made."""
    readme = (ROOT / "README.md").read_text()
    sentence = re.search(r"no Function URLs:(.*?)\.\s", readme, re.DOTALL)
    named = set(re.findall(r"`([a-z0-9-]+)`", sentence.group(1))) if sentence else set()
    if named != without:
        missing, wrong = sorted(without - named), sorted(named - without)
        sys.exit(f"README.md, after 'no Function URLs:': add {missing or 'nothing'}, remove {wrong or 'nothing'}.")


def lint(with_urls):
    print(f"cfn-lint, in {len(with_urls)} Regions", flush=True)
    command = [TOOLS / "cfn-lint", "--regions", *with_urls, "--", TEMPLATE]
    if subprocess.run(command, cwd=ROOT, check=False).returncode:
        sys.exit("cfn-lint found something.")


def findings():
    """What checkov finds, as pairs of a check and a resource."""
    command = [TOOLS / "checkov", "--framework", "cloudformation", "--file", TEMPLATE]
    command += ["--skip-download", "--quiet", "--compact", "--output", "json"]
    run = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    try:
        report = json.loads(run.stdout)
    except ValueError:
        sys.exit(f"checkov gave no report:\n{run.stdout}{run.stderr}")
    summary = report["summary"]
    if summary["parsing_errors"] or not summary["passed"] or summary["skipped"]:
        sys.exit(f"checkov did not look at the whole template: {summary}")
    print(f"checkov: {summary['passed']} passed, {summary['failed']} found")
    names = {found["check_id"]: found["check_name"] for found in report["results"]["failed_checks"]}
    found = {(found["check_id"], found["resource"].split(".")[-1]) for found in report["results"]["failed_checks"]}
    return found, names


def compare(found, names):
    """Every finding is accepted, and every accepted one is found."""
    entries = yaml.safe_load((ROOT / ACCEPTED).read_text())
    accepted = {(entry["check"], resource) for entry in entries for resource in entry["resources"]}
    wrong = [f"{entry['check']} has no reason." for entry in entries if len(entry.get("reason", "")) < 20]
    wrong += [f"New: {check} on {on}: {names[check]}." for check, on in sorted(found - accepted)]
    wrong += [f"No longer found: {check} on {on}; remove it." for check, on in sorted(accepted - found)]
    if wrong:
        sys.exit(f"{TEMPLATE} and {ACCEPTED} differ:\n" + "\n".join(wrong))


with_urls, without = regions()
check_readme(without)
compare(*findings())
lint(with_urls)
