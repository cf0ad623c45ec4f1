"""Executing a pipeline definition: references, order, conditions, and what is refused before it runs."""

import json
import threading
import time

import pytest

from emulator.sagemaker.errors import ServiceError
from emulator.sagemaker.pipeline_expressions import ExpressionError, Expressions
from emulator.sagemaker.pipeline_steps import StepFailedError, holds
from emulator.sagemaker.pipelines import EXECUTION_CHANGE, Pipelines, in_order
from emulator.sagemaker.store import Store

ROLE = "arn:aws:iam::000000000000:role/pipeline"
STEPS = {"Train": {"Artifacts": {"Url": "s3://b/m"}}, "Admit": {"OutputParameters": {"ok": 1}}, "Make": {"List": ["a"]}}


def fail(name, message="no"):
    return {"Name": name, "Type": "Fail", "Arguments": {"ErrorMessage": message}}


@pytest.fixture
def expressions():
    files = {("Evaluate", "Report"): b'{"metrics": {"f": [0.5, 0.7]}}'}
    return Expressions({"Reason": "drift"}, {"PipelineExecutionId": "abc"}, STEPS, lambda s, n: files[s, n])


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ({"Get": "Parameters.Reason"}, "drift"),
        ({"Get": "Execution.PipelineExecutionId"}, "abc"),
        ({"Get": "Steps.Train.Artifacts.Url"}, "s3://b/m"),
        ({"Get": "Steps.Admit.OutputParameters['ok']"}, 1),
        ({"Get": "Steps.Make.List[0]"}, "a"),
        ({"Std:Join": {"On": "/", "Values": ["s3:/", {"Get": "Parameters.Reason"}, 7, True]}}, "s3://drift/7/true"),
        (
            {"Std:JsonGet": {"PropertyFile": {"Get": "Steps.Evaluate.PropertyFiles.Report"}, "Path": "metrics.f[1]"}},
            0.7,
        ),
        ({"A": [{"Get": "Parameters.Reason"}, 1]}, {"A": ["drift", 1]}),
    ],
)
def test_an_expression_is_resolved_wherever_it_stands(expressions, expression, value):
    assert expressions.value(expression) == value


@pytest.mark.parametrize("reference", ["Parameters.None", "Steps.Train.Nothing", "Steps.Make.List[3]", "Secrets.X"])
def test_a_reference_to_nothing_is_an_error_that_names_it(expressions, reference):
    with pytest.raises(ExpressionError, match=reference.split("[")[0]):
        expressions.value({"Get": reference})


def test_steps_run_after_those_they_refer_to_or_depend_on():
    steps = [
        {"Name": "C", "Type": "Fail", "Arguments": {"X": {"Get": "Steps.B.Y"}}},
        {"Name": "B", "Type": "Fail", "DependsOn": ["A"], "Arguments": {}},
        {"Name": "A", "Type": "Fail", "Arguments": {}},
    ]
    assert [step["Name"] for step in in_order(steps)] == ["A", "B", "C"]


@pytest.mark.parametrize(
    ("condition", "outcome"),
    [
        ({"Type": "Equals", "LeftValue": 1, "RightValue": 1}, True),
        ({"Type": "GreaterThan", "LeftValue": "2.5", "RightValue": 2}, True),
        ({"Type": "LessThanOrEqualTo", "LeftValue": 3, "RightValue": 2}, False),
        ({"Type": "In", "QueryValue": "a", "Values": ["b"]}, False),
        ({"Type": "Not", "Expression": {"Type": "Equals", "LeftValue": 1, "RightValue": 2}}, True),
        ({"Type": "Or", "Conditions": [{"Type": "Equals", "LeftValue": 1, "RightValue": 2}]}, False),
    ],
)
def test_conditions(condition, outcome):
    assert holds([condition]) is outcome


def test_an_unknown_condition_fails_the_step():
    with pytest.raises(StepFailedError, match="Almost"):
        holds([{"Type": "Almost", "LeftValue": 1, "RightValue": 1}])


class Service:
    """Pipelines alone, with what they announce."""

    def __init__(self) -> None:
        self.told: list[tuple[str, dict]] = []
        self.pipelines = Pipelines(
            Store("Pipeline", "pipeline", threading.RLock()),
            self.call,
            lambda service: None,
            lambda kind, arn, detail: self.told.append((kind, detail)),
        )

    def call(self, action, parameters):
        raise ServiceError("AccessDenied", f"{action} is not allowed")

    def create(self, *steps, parameters=()):
        definition = {"Version": "2020-12-01", "Parameters": list(parameters), "Steps": list(steps)}
        request = {"PipelineName": "p", "RoleArn": ROLE, "PipelineDefinition": json.dumps(definition)}
        self.pipelines.create(request)

    def start(self, request="t", **parameters):
        given = [{"Name": name, "Value": value} for name, value in parameters.items()]
        wanted = {"PipelineName": "p", "ClientRequestToken": request, "PipelineParameters": given}
        return self.pipelines.start(wanted)["PipelineExecutionArn"]

    def ended(self, execution):
        deadline = time.monotonic() + 10
        while (found := self.pipelines.describe_execution({"PipelineExecutionArn": execution}))[
            "PipelineExecutionStatus"
        ] == "Executing":
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return found


@pytest.fixture
def service():
    return Service()


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([fail("A"), fail("A")], "unique"),
        ([fail("A", {"Get": "Steps.B.X"})], "no step is named B"),
        ([{**fail("A"), "DependsOn": ["B"]}, {**fail("B"), "DependsOn": ["A"]}], "Cycle"),
        ([], "Steps is required"),
    ],
)
def test_a_definition_that_cannot_run_is_refused_when_it_is_deployed(service, steps, said):
    with pytest.raises(ServiceError, match=said):
        service.create(*steps)


def test_a_fail_step_ends_the_run_with_its_message_and_says_so_on_the_bus(service):
    service.create(
        fail("Reject", {"Std:Join": {"On": " ", "Values": ["because", {"Get": "Parameters.Why"}]}}),
        parameters=[{"Name": "Why", "Type": "String", "DefaultValue": "so"}],
    )
    ended = service.ended(service.start(Why="it is worse"))
    assert ended["PipelineExecutionStatus"] == "Failed"
    assert "because it is worse" in ended["FailureReason"]
    statuses = [d["currentPipelineExecutionStatus"] for kind, d in service.told if kind == EXECUTION_CHANGE]
    assert statuses == ["Executing", "Failed"]


def test_a_condition_takes_one_branch(service):
    service.create(
        {
            "Name": "Decide",
            "Type": "Condition",
            "Arguments": {
                "Conditions": [{"Type": "Equals", "LeftValue": 1, "RightValue": 2}],
                "IfSteps": [fail("Yes", "yes")],
                "ElseSteps": [fail("No", "no")],
            },
        }
    )
    assert service.ended(service.start())["FailureReason"] == "Step failure: No: no"


def test_the_same_token_is_the_same_run(service):
    service.create(fail("A"))
    assert service.start("t") == service.start("t") != service.start("u")


def test_an_unknown_parameter_is_refused(service):
    service.create(fail("A"))
    with pytest.raises(ServiceError, match="Unknown parameter Wish"):
        service.start(Wish="more")


def test_a_call_that_is_refused_fails_its_step(service):
    service.create({"Name": "Train", "Type": "Training", "Arguments": {}})
    assert "CreateTrainingJob is not allowed" in service.ended(service.start())["FailureReason"]


def test_a_step_type_that_is_not_executed_here_fails_and_says_which_are(service):
    service.create({"Name": "Tune", "Type": "Tuning", "Arguments": {}})
    assert "step type Tuning is not executed" in service.ended(service.start())["FailureReason"]


def test_a_step_that_breaks_off_ends_the_run_with_its_reason(service):
    """Whatever it was: an execution whose thread had died said Executing for ever, and nobody learned of it."""
    service.create({"Name": "Admit", "Type": "Lambda", "FunctionArn": "arn:aws:lambda:::function:gone"})
    execution = service.start()
    ended = service.ended(execution)
    assert ended["PipelineExecutionStatus"] == "Failed"
    assert "Admit" in ended["FailureReason"]
    (step,) = service.pipelines.list_steps({"PipelineExecutionArn": execution})["PipelineExecutionSteps"]
    assert step["StepStatus"] == "Failed"
