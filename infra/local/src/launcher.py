"""Starts the emulator behind a guard against web pages, with three corrections that matter where roles are enforced, and one
that makes it quick.

It asks a role for the action that a call is named after; SQS's batch calls have none, and AWS asks for that of the single
call. It takes every schedule to be in the group `default`. And it checks signatures, which a proxy before it, that has its own
address and may add to a call, cannot keep: who calls is told by the access key.

It parses the key condition of a query again for each row of the partition. There are few expressions, so what they parse to
is kept.
"""

from functools import lru_cache

import guard
from ministack import app
from ministack.core import iam_actions, sigv4
from ministack.services import dynamodb

SINGLE = {
    "sqs:SendMessageBatch": "sqs:SendMessage",
    "sqs:DeleteMessageBatch": "sqs:DeleteMessage",
    "sqs:ChangeMessageVisibilityBatch": "sqs:ChangeMessageVisibility",
}
action_of = iam_actions.extract_iam_action
resource_of = iam_actions.extract_resource_arn


def action_as_aws_has_it(*request):
    """The action to ask for."""
    action = action_of(*request)
    return SINGLE.get(action, action)


def resource_as_aws_has_it(service, method, path, headers, body, parameters, region, account):
    """The resource to ask for."""
    resource = resource_of(service, method, path, headers, body, parameters, region, account)
    if service == "scheduler":
        group = iam_actions._param(body, parameters, "GroupName", "groupName")
        resource = resource.replace(":schedule/default/", f":schedule/{group or 'default'}/")
    return resource


iam_actions.extract_iam_action = action_as_aws_has_it
iam_actions.extract_resource_arn = resource_as_aws_has_it
tokens_of = lru_cache(maxsize=1024)(dynamodb._tokenize)
dynamodb._tokenize = lambda expression: list(tokens_of(expression))
dynamodb._condition_syntax_error = lru_cache(maxsize=1024)(dynamodb._condition_syntax_error)
sigv4.header_signature_failure = lambda *_request, **_options: None
app.app = guard.guarded(app.app)
guard.guard_runtime_api()
app.main()
