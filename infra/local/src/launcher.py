"""Starts the emulator, with two corrections that matter where roles are enforced.

It asks a role for the action that a call is named after; SQS's batch calls have none, and AWS asks for that of the single
call. And it takes every schedule to be in the group `default`.
"""

from ministack.app import main
from ministack.core import iam_actions

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
main()
