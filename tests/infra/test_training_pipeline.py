"""The deployed pipeline definition: SageMaker would take every request in it, and every reference leads somewhere."""

import json
import re
from dataclasses import replace

import botocore.session
import pytest
from botocore.validate import ParamValidator

from emulator.sagemaker.built_in_contract import check_job
from emulator.sagemaker.pipeline_expressions import Expressions
from emulator.sagemaker.pipelines import in_order
from emulator.sagemaker.service import coerce
from stacks.config.stage import load
from stacks.workflows.training import MAX_ARGUMENT, PipelineParts, definition
from tests.unit.override_fakes import ENTRY
from treeline.core.detection.scorer_row import feature_dim
from treeline.core.profile import Metric
from treeline.settings import outputs
from treeline.settings.environment import decompressed
from treeline.settings.learning import PageBudget
from treeline.settings.values import convert, read

ACTIONS = {"Processing": "CreateProcessingJob", "Training": "CreateTrainingJob", "RegisterModel": "CreateModelPackage"}
NAMES = {"Processing": "ProcessingJobName", "Training": "TrainingJobName"}
ROLE = "arn:aws:iam::000000000000:role/treeline-training"


@pytest.fixture(scope="module")
def deployed(local_stage):
    """The definition as it stands in the template, what CloudFormation fills in replaced by words."""
    (pipeline,) = local_stage.resources("AWS::SageMaker::Pipeline").values()
    return json.loads(filled(pipeline["PipelineDefinition"]["PipelineDefinitionBody"]))


def filled(value):
    if isinstance(value, str):
        return value
    (kind, arguments), *_ = value.items()
    if kind == "Fn::Join":
        return arguments[0].join(filled(part) for part in arguments[1])
    return "word"


def every_step(deployed):
    (decide,) = [step for step in deployed["Steps"] if step["Type"] == "Condition"]
    return [*deployed["Steps"], *decide["Arguments"]["IfSteps"], *decide["Arguments"]["ElseSteps"]]


def resolved(value):
    """References become text, as SageMaker makes of them before it calls."""
    if isinstance(value, list):
        return [resolved(item) for item in value]
    if not isinstance(value, dict):
        return value
    if set(value) in ({"Get"}, {"Std:Join"}):
        return "resolved"
    return {key: resolved(item) for key, item in value.items()}


def test_the_steps_follow_each_other_as_the_decision_page_says(deployed):
    assert [s["Name"] for s in in_order(deployed["Steps"])] == ["Prepare", "Train", "Evaluate", "Admit", "Decide"]
    assert {s["Name"]: s["Type"] for s in every_step(deployed)} == {
        "Prepare": "Processing",
        "Train": "Training",
        "Evaluate": "Processing",
        "Admit": "Lambda",
        "Decide": "Condition",
        "Register": "RegisterModel",
        "Reject": "Fail",
    }


@pytest.mark.parametrize("name", ["Prepare", "Train", "Evaluate", "Register"])
def test_sagemaker_would_take_the_request(deployed, name):
    (step,) = [s for s in every_step(deployed) if s["Name"] == name]
    shape = botocore.session.get_session().get_service_model("sagemaker").operation_model(ACTIONS[step["Type"]])
    request = resolved(step["Arguments"]) | {NAMES.get(step["Type"], "ClientToken"): "name"}
    if step["Type"] in NAMES:
        request["RoleArn"] = ROLE
    report = ParamValidator().validate(coerce(shape.input_shape, request), shape.input_shape)
    assert not report.has_errors(), report.generate_report()


def test_references_name_parameters_and_steps_that_are_there(deployed):
    text = json.dumps(deployed)
    parameters = {p["Name"] for p in deployed["Parameters"]}
    steps = {s["Name"] for s in every_step(deployed)}
    assert set(re.findall(r'"Get": "Parameters\.(\w+)"', text)) <= parameters
    assert set(re.findall(r'"Get": "Steps\.(\w+)', text)) <= steps


def test_a_gates_outputs_are_declared(deployed):
    (admit,) = [s for s in deployed["Steps"] if s["Name"] == "Admit"]
    declared = {output["OutputName"] for output in admit["OutputParameters"]}
    used = set(re.findall(r"Steps\.Admit\.OutputParameters\['(\w+)'\]", json.dumps(deployed)))
    assert used == declared


def test_spot_is_managed_and_its_wait_within_what_sagemaker_allows(deployed):
    (train,) = [s["Arguments"] for s in deployed["Steps"] if s["Name"] == "Train"]
    stopping = train["StoppingCondition"]
    assert train["EnableManagedSpotTraining"]
    assert stopping["MaxRuntimeInSeconds"] <= stopping["MaxWaitTimeInSeconds"] <= 3600


def parts(**values):
    names = ("name", "image", "algorithm_image", "models_bucket", "training_bucket", "admit_function_arn", "role_arn")
    others = {"metrics": (Metric(name="cpu_percent"),), "policy": "{}", "step_s": 60, "timezone": "UTC"}
    others["group_size"] = 50
    others["rolling_window_s"] = 0
    others["tables"] = {f"--{name}-table": name for name in ("controls", "incidents", "servers")}
    return PipelineParts(**{n: n for n in names} | others | values)


def test_prepare_is_told_of_a_rolling_window_where_the_stage_has_one():
    def flags(**values):
        body = definition(load("prod").learning, parts(**values))
        (prepare,) = [step for step in body["Steps"] if step["Name"] == "Prepare"]
        return prepare["Arguments"]["AppSpecification"]["ContainerArguments"]

    told = flags(rolling_window_s=7200)
    assert told[told.index("--rolling-window-s") + 1] == "7200"
    assert "--rolling-window-s" not in flags()


def test_evaluate_is_told_of_the_stages_page_budget():
    def told(stage):
        (evaluate,) = [s for s in definition(load(stage).learning, parts())["Steps"] if s["Name"] == "Evaluate"]
        arguments = evaluate["Arguments"]["AppSpecification"]["ContainerArguments"]
        return read(PageBudget, json.loads(arguments[arguments.index("--page-budget") + 1]), "--page-budget")

    assert told("prod") == PageBudget(p1_per_week=1.0, p2_per_day=2.0, servers=500)
    assert told("dev") == told("local") == PageBudget()


def test_arguments_keep_to_their_length_with_as_many_metrics_as_there_are():
    names = [f"a_metric_with_a_long_name_{i:02d}" for i in range(38)]
    metrics = tuple(Metric(name=name, maximum=100.0 + i, minimum_deviation=i / 7) for i, name in enumerate(names))
    body = definition(load("prod").learning, parts(metrics=metrics))
    (arguments,) = [s["Arguments"]["AppSpecification"]["ContainerArguments"] for s in body["Steps"][:1]]
    assert max(len(a) for a in arguments if isinstance(a, str)) <= MAX_ARGUMENT
    assert len(arguments) <= 100
    given = arguments[arguments.index("--metrics") + 1 : arguments.index("--declared")]
    assert ",".join(given).split(",") == names
    pieces = arguments[arguments.index("--declared") + 1 : arguments.index("--window-end")]
    assert len(pieces) > 1
    assert convert(tuple[Metric, ...], json.loads(decompressed("".join(pieces))), "", "") == metrics


def train_step(body):
    """The training job as an execution with no parameters of its own asks for it."""
    (step,) = [s["Arguments"] for s in body["Steps"] if s["Name"] == "Train"]
    usual = {p["Name"]: p["DefaultValue"] for p in body["Parameters"]}
    return Expressions(usual, {"PipelineExecutionId": "run"}, {}, lambda *_: b"").value(step)


@pytest.mark.parametrize("metrics", [tuple(Metric(name=f"m{i}") for i in range(count)) for count in (1, 38)])
def test_the_training_job_and_prepare_are_told_the_same_width_that_of_the_profiles_rows(metrics):
    body = definition(load("prod").learning, parts(metrics=metrics))
    (prepare,) = [s["Arguments"]["AppSpecification"]["ContainerArguments"] for s in body["Steps"][:1]]
    told = {train_step(body)["HyperParameters"]["feature_dim"], prepare[prepare.index("--feature-dim") + 1]}
    assert told == {str(feature_dim(len(metrics)))}


def test_prepare_is_told_how_many_servers_the_stage_decides_together():
    """Servers that have sent nothing yet are numbered by it, and peers are found among a group's servers."""
    body = definition(load("prod").learning, parts(group_size=7))
    (prepare,) = [s["Arguments"]["AppSpecification"]["ContainerArguments"] for s in body["Steps"][:1]]
    assert prepare[prepare.index("--group-size") + 1] == "7"


def test_the_built_in_algorithm_is_asked_for_nothing_but_what_aws_documents():
    image = "382416733822.dkr.ecr.us-east-1.amazonaws.com/randomcutforest:1"
    built_in = train_step(
        definition(load("prod", {"learning": {"algorithm": "built-in"}}).learning, parts(algorithm_image=image))
    )
    check_job(built_in, files=1)
    assert "Environment" not in built_in
    assert train_step(definition(load("prod").learning, parts()))["Environment"] == {"SEED": "1"}


@pytest.mark.parametrize(("approval", "status"), [("automatic", "Approved"), ("manual", "PendingManualApproval")])
def test_approval_is_a_setting(approval, status):
    body = definition(load("prod", {"learning": {"approval": approval}}).learning, parts())
    (register,) = [s for s in every_step(body) if s["Name"] == "Register"]
    assert register["Arguments"]["ModelApprovalStatus"] == status


def test_the_role_may_pass_itself_to_sagemaker_only(local_stage):
    own = [s for key, s in local_stage.statements() if key.startswith(f"{outputs.LEARNING}/TrainingRole")]
    (passing,) = [s for s in own if s["Action"] == "iam:PassRole"]
    assert passing["Condition"] == {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}
    assert not [s for s in own if "s3:DeleteObject" in json.dumps(s)]


def test_an_override_gives_only_parameters_that_the_pipeline_declares():
    """A name that SageMaker does not know fails the start of the run; without an override the stage's settings hold."""
    declared = {p["Name"]: p["DefaultValue"] for p in definition(load("prod").learning, parts())["Parameters"]}
    whole = replace(ENTRY, policy={"needed": 3}, forest={"num_trees": 200, "num_samples_per_tree": 256})
    given = whole.training_parameters()
    assert given == {"NumTrees": "200", "NumSamplesPerTree": "256", "PolicyOverride": '{"needed": 3}'}
    assert set(given) <= set(declared)
    assert declared["NumTrees"] == str(load("prod").learning.forest.num_trees)
    assert declared["PolicyOverride"] == "{}"
    assert ENTRY.training_parameters() == {}
