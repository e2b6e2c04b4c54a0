"""Expands a SAM template as AWS does, and writes what CloudFormation would get to standard output.

    translate.py <the template's text> <NAME=VALUE> ...
"""

import json
import os
import sys

# The translator asks for it; nothing is called.
os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")

from samtranslator.translator.transform import transform  # noqa: E402
from samtranslator.yaml_helper import yaml_parse  # noqa: E402


class NoManagedPolicies:
    """Looked up in the account otherwise; the template names none."""

    def load(self):
        return {}


parameters = dict(argument.split("=", 1) for argument in sys.argv[2:])
json.dump(transform(yaml_parse(sys.argv[1]), parameters, NoManagedPolicies()), sys.stdout)
