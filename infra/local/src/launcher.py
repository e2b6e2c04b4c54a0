"""Starts the emulator behind a guard against web pages, with three corrections that matter where roles are enforced, one
that makes it quick, and one for the functions' logs.

It asks a role for the action that a call is named after; SQS's batch calls have none, and AWS asks for that of the single
call. It takes every schedule to be in the group `default`. And it checks signatures, which a proxy before it, that has its own
address and may add to a call, cannot keep: who calls is told by the access key.

It parses the key condition of a query again for each row of the partition. There are few expressions, so what they parse to
is kept.

It keeps a function's logging configuration and does not tell the function, as Lambda does.
"""

from functools import lru_cache

import guard
from ministack import app
from ministack.core import iam_actions, sigv4
from ministack.services import dynamodb, lambda_svc

SINGLE = {
    "sqs:SendMessageBatch": "sqs:SendMessage",
    "sqs:DeleteMessageBatch": "sqs:DeleteMessage",
    "sqs:ChangeMessageVisibilityBatch": "sqs:ChangeMessageVisibility",
}
action_of = iam_actions.extract_iam_action
resource_of = iam_actions.extract_resource_arn
environment_of = lambda_svc._provided_worker_env


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


def environment_as_aws_has_it(config, directory, port):
    """A function's environment. What the emulator's own environment says of logs wins: a test may want another level than the
    template allows."""
    environment = environment_of(config, directory, port)
    logging = config.get("LoggingConfig") or {}
    environment.setdefault("AWS_LAMBDA_LOG_FORMAT", logging.get("LogFormat", "Text"))
    if "ApplicationLogLevel" in logging:
        environment.setdefault("AWS_LAMBDA_LOG_LEVEL", logging["ApplicationLogLevel"])
    return environment


iam_actions.extract_iam_action = action_as_aws_has_it
iam_actions.extract_resource_arn = resource_as_aws_has_it
lambda_svc._provided_worker_env = environment_as_aws_has_it
tokens_of = lru_cache(maxsize=1024)(dynamodb._tokenize)
dynamodb._tokenize = lambda expression: list(tokens_of(expression))
dynamodb._condition_syntax_error = lru_cache(maxsize=1024)(dynamodb._condition_syntax_error)
sigv4.header_signature_failure = lambda *_request, **_options: None
app.app = guard.guarded(app.app)
guard.guard_runtime_api()
app.main()
